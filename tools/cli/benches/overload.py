"""Three times as much as is carried: what arrives, how late, in how much memory, and what is left of it afterwards."""

import json
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from benches import Row
from benches._stack import rss_mb
from provision import provision

TITLE = """offered three times what it carries
   The network of `uplinks`, three times the rate that was sustained (18,000/s when that was not measured in this run) for --overload-seconds,
   while 100 other devices try to join; then 500/s. p50 is that of the uplinks that arrive. Memory: all processes, their peak in
   the first and in the second half of the time."""
DEFAULT, ORDER = True, 60
JOINING = 100
ROWS = [
    Row("overload_p50", "offered three times what it carries: p50", "ms", more=False, reference="13 s behind after 10 s"),
    Row("overload_rss", "the same: memory of all processes, peak", "MB", more=False, reference="490 MB and growing"),
    Row("overload_joins", "the same: devices that join meanwhile", "%"),
    Row("overload_after", "the same, 500/s afterwards: p99", "ms", more=False),
]


def add_options(p):
    p.add_argument("--overload-rate", type=int, help="uplinks/s offered (three times the sustained rate)")
    p.add_argument("--overload-seconds", type=int, default=20, help="for so long (20)")


def joiners(stack, seconds):
    """Devices that switch on while the load is there."""
    # Gateways of their own: one whose datagrams come from two sockets hears its downlinks at the last one.
    base = ["--gateways", 20, "--first-gateway", 1000, "--copies", 2, "--devices", JOINING, "--first-device", 500000, "--seed", 9]
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


class Memory:
    """Peak of all processes together in the first and in the second half of some seconds."""

    def __init__(self, stack, seconds):
        self.stack, self.half, self.peaks, self.detail = stack, seconds / 2, [0.0, 0.0], {}
        self.stop, self.thread = threading.Event(), threading.Thread(target=self._sample, daemon=True)

    def __enter__(self):
        self.began = time.monotonic()
        self.thread.start()
        return self

    def _sample(self):
        while not self.stop.wait(0.25):
            passed = time.monotonic() - self.began
            if passed >= 2 * self.half:
                continue
            now = {n: rss_mb(p) for n, p in self.stack.pids.items()}
            late = passed >= self.half
            if sum(now.values()) > self.peaks[late]:
                self.peaks[late] = sum(now.values())
                self.detail = now

    def __exit__(self, *exc):
        self.stop.set()
        self.thread.join()
        return False


def run(ctx):
    net = ctx.network()
    seconds = ctx.opt.overload_seconds
    carried = ctx.results.get("uplinks", {}).get("value", 6000)
    rate = ctx.opt.overload_rate or int(3 * carried)
    begin = joiners(net.stack, seconds)
    with net.stack.measure() as m, Memory(net.stack, seconds) as memory:
        proc, report = begin()
        r = net.traffic(rate, seconds, settle=10)
        proc.wait()
    joined = json.loads(Path(report.name).read_text())["devices_active"]
    report.close()
    lat = r["latency_ms"]
    print(f"  {rate}/s for {seconds} s: sent {r['uplinks']}  acknowledged by the bridge {r['accepted']}  delivered {r['delivered']}  twice "
          f"{r['duplicates']}  p50 {lat['p50']:.0f} p90 {lat['p90']:.0f} p99 {lat['p99']:.0f} max {lat['max']:.0f} ms")
    print("  RSS at its peak, MB: " + "  ".join(f"{n} {v:.0f}" for n, v in memory.detail.items()))
    gone = shed(m)
    print(f"  receptions given up: {gone}; joined {joined} of {JOINING}")
    after = net.traffic(500, 10)
    last = after["latency_ms"]
    print(f"  afterwards 500/s: delivered {after['delivered']} of {after['accepted']} accepted  p50 {last['p50']:.0f} p99 {last['p99']:.0f} ms",
          flush=True)
    ctx.data.update(rate=rate, load=r, after=after, shed=gone, joined=joined, rss_mb=memory.peaks)
    ctx.put("overload_p50", lat["p50"], f"{rate}/s offered, {r['uplinks'] / seconds:.0f}/s sent, {r['delivered'] / seconds:.0f}/s delivered; "
            f"p99 {lat['p99']:.0f} ms")
    ctx.put("overload_rss", memory.peaks[1], f"{memory.peaks[0]:.0f} MB in the first half")
    ctx.put("overload_joins", 100 * joined / JOINING)
    ctx.put("overload_after", last["p99"], f"{after['missing']} missing")
