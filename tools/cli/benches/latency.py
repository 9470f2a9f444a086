"""What an uplink waits beyond the deduplication window, at a moderate rate."""

from benches import Row
from benches.uplinks import judge, print_step

TITLE = """latency beyond the dedup window at 1,000 uplinks/s
   The same network as `uplinks`. Until the event is read from the application's topic: from the end of the window (200 ms after the first copy
   was given to the kernel) or, where the adaptive window closed early, from the last copy."""
DEFAULT, ORDER = True, 20
RATE = 1000
ROWS = [
    Row("latency_p50", "latency beyond the dedup window at 1,000 uplinks/s, p50", "ms", 3, 1, more=False,
        reference="10 ms at 100/s; a second at 400/s"),
    Row("latency_p99", "the same, p99", "ms", 15, 5, more=False, reference="45 ms at 100/s"),
]


def run(ctx):
    net = ctx.network()
    r = judge(net.traffic(RATE, max(10, ctx.opt.seconds)), max(10, ctx.opt.seconds))
    print_step(r)
    ctx.data["step"] = r
    lat, beyond = r["latency_ms"], r["beyond_ms"]
    ctx.put("latency_p50", beyond["p50"], f"from the first copy: p50 {lat['p50']:.0f}, p90 {lat['p90']:.0f}, p99 {lat['p99']:.0f} ms")
    ctx.put("latency_p99", beyond["p99"])
