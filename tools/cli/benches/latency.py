"""What an uplink waits beyond the deduplication window, at a moderate rate."""

from benches import Row
from benches.uplinks import judge, print_step

TITLE = """latency beyond the dedup window at 1,000 uplinks/s
   The same network as `uplinks`. From the last byte of the first copy handed to the kernel until the event is read from the application's
   topic, less the configured window of 200 ms; with the adaptive window an uplink can be earlier than that (negative)."""
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
    w = r["window_ms"]
    total = f"p50 {r['latency_ms']['p50']:.0f}, p90 {r['latency_ms']['p90']:.0f}, p99 {r['latency_ms']['p99']:.0f} ms in all"
    ctx.put("latency_p50", r["latency_ms"]["p50"] - w, total)
    ctx.put("latency_p99", r["latency_ms"]["p99"] - w)
