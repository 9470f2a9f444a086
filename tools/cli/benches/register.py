"""Devices created and given a session, over gRPC."""

from benches import Row
from benches._load import TARGETS, Load, print_cpu  # noqa: F401 - TARGETS is for bench.py

TITLE = """devices created and activated over gRPC
   One client with 256 calls under way on one connection: Create, then Activate with the session keys. Both have been answered with OK, and
   success is answered only once the network-server has it too. Then the same with one call under way: what a script sees."""
DEFAULT, ORDER = True, 40
ROWS = [
    Row("register_per_s", "devices created and activated over gRPC", "/s", 1500, 5000, reference="340–400"),
    Row("register_one_per_s", "the same, one call at a time", "/s"),
]


def run(ctx):
    with ctx.stack() as stack:
        load = Load(ctx, stack)
        abp = load.profile("ABP", supportsOtaa=False)
        r = load.register(15000, 11, abp)
        print(f"  {r['devices']} devices in {r['seconds']:.2f} s: {r['per_s']}/s, failed {r['failed']}")
        print_cpu(r)
        one = load.register(300, 12, abp, "--concurrency", 1)
    ctx.data["many"], ctx.data["one"] = r, one
    ctx.put("register_per_s", r["per_s"] if not r["failed"] else 0)
    ctx.put("register_one_per_s", one["per_s"])
