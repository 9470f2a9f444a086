"""What registered devices cost: memory, the start, and each uplink."""

import re
import subprocess
import tempfile
import time
from pathlib import Path

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
SEED, RATE = 21, 2500
SETTINGS = {"network-server": {"network.mac_commands_disabled": "true"}}
SERVERS = ("network-server", "app-server")


def add_options(parser):
    parser.add_argument("--at", default="1000,100000,1000000", help="numbers of devices (1000,100000,1000000)")
    parser.add_argument("--data", metavar="DIR", help="keep the databases of each number there, and begin with those that are there")
    parser.add_argument("--repeat", type=int, default=1, help="measure at each number so often (1; 0: only make the databases)")
    parser.add_argument("--traffic", type=int, default=15, help="seconds of traffic at 2,500/s (15)")


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


def cost(stack, devices, f_cnt, seconds):
    r = stack.sim("--gateways", 100, "--copies", 2, "--devices", devices, "--abp", "--seed", SEED, "--f-cnt", f_cnt, "--rate", RATE,
                  "--duration", seconds, settle=15)
    total = sum(r["cpu_us"].values())
    print(f"  {devices} devices, {RATE}/s: delivered {r['delivered']} of {r['accepted']}, CPU per uplink {total:.0f} us: "
          + "  ".join(f"{n} {v:.0f}" for n, v in r["cpu_us"].items()), flush=True)
    return total, r


def databases(ctx, sizes, store):
    """A folder with the databases of each number of devices, the larger ones grown from the smaller."""
    last = None
    for n in sizes:
        folder = store / f"{n}-devices"
        if not folder.exists():
            have = int(last.name.split("-")[0]) if last else 0
            with ctx.stack(SETTINGS, data=last) as stack:
                load = Load(ctx, stack)
                r = load.register(n - have, SEED, load.profile("ABP", supportsOtaa=False), "--first-device", have)
                print(f"  registered {n - have} more in {r['seconds']:.0f} s ({r['per_s']}/s); while that, RSS "
                      + "  ".join(f"{d} {r['rss_mb'][d]:.0f} MB" for d in SERVERS), flush=True)
                stack.save_data(folder)
        last = folder
        yield n, folder


def parts(pid):
    """MB of a process: what is private and written to, the heap's part of it, files mapped."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    mb = {k: int(v) / 1e3 for k, v in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    return f"private {mb['Private_Dirty']:.0f}, files {mb['Rss'] - mb['Anonymous']:.0f}, PSS {mb['Pss']:.0f}"


def measure_at(ctx, n, data):
    with ctx.stack(SETTINGS, data=data) as stack:
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            seconds = start_both(stack, [str(ctx.out / "bin" / "longwave-sim"), *stack.sim_argv(
                "--gateways", 2, "--devices", 50, "--first-device", n - 50, "--abp", "--seed", SEED, "--rate", 50, "--quiet",
                "--report", report.name)])
        time.sleep(3)
        started = sum(stack.rss()[d] for d in SERVERS)
        total, r = cost(stack, n, 200, ctx.opt.traffic)
        used = sum(r["measure"].rss_end_mb[d] for d in SERVERS)
        top = sum(r["rss_mb"][d] for d in SERVERS)
        print(f"  start to first uplink {seconds:.2f} s; RSS of both after the start {started:.0f} MB, peak {top:.0f} MB, afterwards {used:.0f} MB: "
              + "; ".join(f"{d} {stack.rss()[d]:.0f} ({parts(stack.pids[d])})" for d in SERVERS)
              + f"; databases {(stack.state / 'ns.db').stat().st_size / 1e6:.0f} + {(stack.state / 'app.db').stat().st_size / 1e6:.0f} MB",
              flush=True)
    ctx.data[str(n)] = {"cpu_us": r["cpu_us"], "total_us": total, "start_s": seconds, "rss_started": started, "rss_top": top, "rss_used": used}
    return total


def run(ctx):
    sizes = sorted({int(n) for n in ctx.opt.at.split(",")})
    with tempfile.TemporaryDirectory(prefix="longwave-bench-") as temp:
        for n, folder in databases(ctx, sizes, Path(ctx.opt.data or temp)):
            for _ in range(ctx.opt.repeat):
                measure_at(ctx, n, folder)
            if not ctx.opt.repeat:
                continue
            d = ctx.data[str(n)]
            if n in (100000, 1000000):
                ctx.put(f"rss_{n}", d["rss_top"], f"{d['rss_started']:.0f} after the start, {d['rss_used']:.0f} afterwards")
            if n == 1000000:
                ctx.put("start_1000000", d["start_s"])
            if n == sizes[-1] and n > 1000 and "1000" in ctx.data:
                base = ctx.data["1000"]["total_us"]
                ctx.put("growth", d["total_us"] / base, f"{n} against 1000 devices: {d['total_us']:.0f} us against {base:.0f}")
