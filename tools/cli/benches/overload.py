"""Three times as much as is carried: what arrives, how late, in how much memory, and what is left of it afterwards."""

import json
import subprocess
import tempfile
from pathlib import Path

from benches import Row
from provision import provision

TITLE = """offered three times what it carries
   The network of `uplinks`, three times the rate that was sustained (18,000/s when that was not measured in this run) for --overload-seconds,
   while 100 other devices try to join; then 500/s. p50 is that of the uplinks that arrive. Memory: daemons and broker, its peak in the first
   and in the second half of the time."""
DEFAULT, ORDER = True, 60
JOINING = 100
ROWS = [
    Row("overload_p50", "offered three times what it carries: p50", "ms", more=False, reference="13 s behind after 10 s"),
    Row("overload_rss", "the same: memory of daemons and broker, peak", "MB", more=False, reference="490 MB and growing"),
    Row("overload_joins", "the same: devices that join meanwhile", "%"),
    Row("overload_after", "the same, 500/s afterwards: p99", "ms", more=False),
]


def add_options(p):
    p.add_argument("--overload-rate", type=int, help="uplinks/s offered (three times the sustained rate)")
    p.add_argument("--overload-seconds", type=int, default=20, help="for so long (20)")


def joiners(stack, seconds):
    """Devices that switch on while the load is there."""
    base = ["--gateways", 100, "--copies", 2, "--devices", JOINING, "--first-device", 500000, "--seed", 9]
    provision(stack.api(), stack.out / "bin" / "longwave-sim", stack.sim_argv(*base), application="joining")
    report = tempfile.NamedTemporaryFile(suffix=".json", prefix="longwave-sim-")
    argv = [str(stack.out / "bin" / "longwave-sim"), *stack.sim_argv(*base), "--rate", "1", "--join-spread", str(seconds // 2),
            "--duration", str(seconds), "--settle", "4", "--quiet", "--report", report.name]
    return lambda: (subprocess.Popen(argv), report)


def shed(m):
    """By process: how many uplinks it gave up."""
    found = {}
    for d, name in (("gateway-bridge", "dropped_total"), ("network-server", "uplink_drops_total")):
        found[d] = int(sum(v for k, v in m.series(d, name).items() if "OVERLOAD" in k))
    found["kernel"] = int(m.delta("gateway-bridge", "kernel_drops_total") or 0)
    return found


def run(ctx):
    net = ctx.network()
    seconds = ctx.opt.overload_seconds
    carried = ctx.results.get("uplinks", {}).get("value", 6000)
    rate = ctx.opt.overload_rate or int(3 * carried)
    begin = joiners(net.stack, seconds)
    with net.stack.measure() as m:
        proc, report = begin()
        first = net.traffic(rate, seconds - seconds // 2, settle=0)
        second = net.traffic(rate, seconds // 2, settle=8)
        proc.wait()
    joined = json.loads(Path(report.name).read_text())["devices_active"]
    report.close()
    names = [*net.stack.daemons, "mosquitto"]
    for text, r in (("first half", first), ("second half", second)):
        lat = r.get("latency_ms", {"p50": 0, "p99": 0, "max": 0})
        print(f"  {text}: {rate}/s  sent {r['uplinks']}  acknowledged by the bridge {r['accepted']}  delivered {r['delivered']}  twice "
              f"{r['duplicates']}  p50 {lat['p50']:.0f} p99 {lat['p99']:.0f} max {lat['max']:.0f} ms  RSS, MB: "
              + "  ".join(f"{n} {r['rss_mb'][n]:.0f}" for n in names))
    gone = shed(m)
    print(f"  given up: {gone}; joined {joined} of {JOINING}")
    after = net.traffic(500, 10)
    lat = after["latency_ms"]
    print(f"  afterwards 500/s: delivered {after['delivered']} of {after['accepted']} accepted  p50 {lat['p50']:.0f} p99 {lat['p99']:.0f} ms",
          flush=True)
    rss = [sum(r["rss_mb"][n] for n in names) for r in (first, second)]
    ctx.data.update(rate=rate, first=first, second=second, after=after, shed=gone, joined=joined)
    ctx.put("overload_p50", second["latency_ms"]["p50"], f"{rate}/s offered, {second['delivered'] / (seconds // 2):.0f}/s delivered; p99 "
            f"{second['latency_ms']['p99']:.0f} ms")
    ctx.put("overload_rss", rss[1], f"{rss[0]:.0f} MB in the first half")
    ctx.put("overload_joins", 100 * joined / JOINING)
    ctx.put("overload_after", lat["p99"], f"{after['missing']} missing")
