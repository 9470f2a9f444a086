"""What registered devices cost: memory, the start, and each uplink."""

import subprocess
import tempfile
import time

from benches import Row
from benches._load import TARGETS, Load  # noqa: F401 - TARGETS is for bench.py

TITLE = """devices registered: memory, start, growth of the CPU per uplink
   Devices are created and activated over gRPC, as a customer would: 1,000, then --at more (default 100,000 and 1,000,000). Memory: both daemons
   started afresh, after the first traffic. Start: both killed, their start until the event of an uplink sent meanwhile has been
   published. Growth: CPU of all processes per uplink, each uplink from another device drawn from all, MAC commands switched off (new
   devices are not settled: what is compared are uplinks)."""
DEFAULT, ORDER = False, 90
ROWS = [
    Row("rss_100000", "RSS of network- and app-server, 100,000 devices registered", "MB", 150, 80, more=False),
    Row("rss_1000000", "RSS of network- and app-server, 1,000,000 devices registered", "MB", 1000, 500, more=False),
    Row("start_1000000", "start with 1,000,000 devices until the first uplink is served", "s", 10, 2, more=False),
    Row("growth", "growth: CPU per uplink at 1,000,000 devices ÷ at 1,000", "", 1.3, 1.1, more=False),
]
SEED, RATE, SECONDS = 21, 2500, 15
SETTINGS = {"network-server": {"network.mac_commands_disabled": "true"}}
SERVERS = ("network-server", "app-server")


def add_options(parser):
    parser.add_argument("--at", default="100000,1000000", help="numbers of devices")


def start_both(stack, sim):
    """Kills both; the seconds from their start until an uplink's event is out."""
    for name in SERVERS:
        q = stack.process(name)
        q.proc.kill()
        q.proc.wait()
    traffic = subprocess.Popen(sim, stdout=subprocess.DEVNULL)
    time.sleep(1)  # what the bridge took in meanwhile waits at the broker
    began = time.monotonic()
    for name in SERVERS:
        stack.process(name).start()
    while not stack.metrics("app-server").get(("longwave_as_mqtt_events_total", ""), 0):
        if time.monotonic() - began > 120:
            break
        time.sleep(0.01)
    seconds = time.monotonic() - began
    traffic.terminate()
    traffic.wait()
    return seconds


def cost(stack, devices, f_cnt):
    r = stack.sim("--gateways", 100, "--copies", 2, "--devices", devices, "--abp", "--seed", SEED, "--f-cnt", f_cnt, "--rate", RATE,
                  "--duration", SECONDS, settle=15)
    total = sum(r["cpu_us"].values())
    print(f"  {devices} devices, {RATE}/s: delivered {r['delivered']} of {r['accepted']}, CPU per uplink {total:.0f} us: "
          + "  ".join(f"{n} {v:.0f}" for n, v in r["cpu_us"].items()), flush=True)
    return total, r


def run(ctx):
    sizes = [int(n) for n in ctx.opt.at.split(",")]
    with ctx.stack(SETTINGS) as stack:
        load = Load(ctx, stack)
        profile = load.profile("ABP", supportsOtaa=False)
        load.register(1000, SEED, profile)
        cost(stack, 1000, 0)
        base, r = cost(stack, 1000, 200)
        ctx.data["1000"] = {"cpu_us": r["cpu_us"]}
        have = 1000
        for n in sizes:
            r = load.register(n - have, SEED, profile, "--first-device", have)
            print(f"  registered {n - have} more in {r['seconds']:.0f} s ({r['per_s']}/s); while that, RSS "
                  + "  ".join(f"{d} {r['rss_mb'][d]:.0f} MB" for d in SERVERS), flush=True)
            have = n
            with tempfile.NamedTemporaryFile(suffix=".json") as report:
                seconds = start_both(stack, [str(ctx.out / "bin" / "longwave-sim"), *stack.sim_argv(
                    "--gateways", 2, "--devices", 50, "--first-device", n - 50, "--abp", "--seed", SEED, "--rate", 50, "--quiet",
                    "--report", report.name)])
            time.sleep(3)
            started = sum(stack.rss()[d] for d in SERVERS)
            total, r = cost(stack, n, 1000)
            used = sum(r["measure"].rss_end_mb[d] for d in SERVERS)
            print(f"  start to first uplink {seconds:.2f} s; RSS of both after the start {started:.0f} MB, under that traffic {used:.0f} MB; "
                  f"databases {(stack.state / 'ns.db').stat().st_size / 1e6:.0f} + {(stack.state / 'app.db').stat().st_size / 1e6:.0f} MB",
                  flush=True)
            ctx.data[str(n)] = {"cpu_us": r["cpu_us"], "start_s": seconds, "rss_started": started, "rss_used": used}
            if n in (100000, 1000000):
                ctx.put(f"rss_{n}", used, f"{started:.0f} after the start")
            if n == 1000000:
                ctx.put("start_1000000", seconds)
            if n == sizes[-1]:
                ctx.put("growth", total / base, f"{n} against 1000 devices: {total:.0f} us against {base:.0f}")
