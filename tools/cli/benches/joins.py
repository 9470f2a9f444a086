"""Storms of joins, join server included."""

from benches import Row
from benches._load import TARGETS, Load, print_cpu  # noqa: F401 - TARGETS is for bench.py

TITLE = """join-requests/s (join server included), and storms of them
   Every device asks once, at an even rate, heard by two of 100 gateways. A join-accept counts when its PULL_RESP is at the gateway before RX1
   (5 s) less the gateway's lead of 42.5 ms. The rate is that of accepts from the first request to the last accept, in the fastest storm of
   which all were in time."""
DEFAULT, ORDER = True, 45
ROWS = [
    Row("joins_per_s", "join-requests/s (join server included)", "/s", 2000, 10000, reference="440"),
    Row("storm_in_time", "storm of 1,500 joins/s for 6 s: join-accepts that reach the gateway before RX1", "%", 100, 100, reference="8 %"),
    Row("storm_5000_in_time", "the same, 5,000 joins/s", "%", None, 100),
]


def run(ctx):
    best = 0
    with ctx.stack() as stack:
        load = Load(ctx, stack)
        load.register(30000, 12, load.profile("OTAA", supportsOtaa=True), "--otaa")
        for rate, key in ((1500, "storm_in_time"), (3000, None), (5000, "storm_5000_in_time"), (8000, None)):
            r = load.run("joins", "--devices", min(30000, rate * 6), "--rate", rate, "--seed", 12, "--copies", 2, "--seconds", 8)
            share = 100 * r["in_time"] / r["requests"]
            print(f"  {rate:5d}/s  asked {r['requests']}  in time {r['in_time']} ({share:.1f} %)  late {r['late']}  {r['per_s']}/s  "
                  f"request to accept p50 {r['p50_ms']:.0f} p99 {r['p99_ms']:.0f} max {r['max_ms']:.0f} ms")
            print_cpu(r)
            ctx.data[str(rate)] = r
            if key:
                ctx.put(key, share)
            if share == 100:
                best = max(best, r["per_s"])
            elif rate >= 5000:
                break
    ctx.put("joins_per_s", best)
