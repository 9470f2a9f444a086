"""Class C fan-out: one downlink to each of many devices, all asked for at once."""

from benches import Row
from benches._load import TARGETS, Load, print_cpu  # noqa: F401 - TARGETS is for bench.py

TITLE = """downlinks/s scheduled (class C fan-out)
   5,000 class C devices, each heard once by one of 100 gateways; then one downlink is enqueued for each, by MQTT command and, with the next
   5,000 devices, by gRPC. From the first command to the last PULL_RESP at a gateway."""
DEFAULT, ORDER = True, 50
DEVICES = 5000
ROWS = [
    Row("fanout_mqtt", "downlinks/s scheduled (class C fan-out), asked for by MQTT", "/s", 5000, 10000, reference="< 100"),
    Row("fanout_grpc", "the same, asked for by gRPC", "/s", 5000, 10000),
]


def run(ctx):
    with ctx.stack() as stack:
        load = Load(ctx, stack)
        profile = load.profile("class C", supportsOtaa=False, supportsClassC=True)
        for via, seed in (("mqtt", 13), ("grpc", 14)):
            load.register(DEVICES, seed, profile)
            r = load.run("fanout", "--devices", DEVICES, "--rate", 1000, "--seed", seed, "--via", via, "--seconds", 30,
                         "--concurrency", 2 * DEVICES)
            print(f"  {via}: sent {r['sent']} of {r['enqueued']}, twice {r['twice']}, in {r['seconds']:.2f} s: {r['per_s']}/s "
                  f"(asked for in {r['enqueue_seconds']:.2f} s)")
            print_cpu(r)
            ctx.data[via] = r
            ctx.put(f"fanout_{via}", r["per_s"] if r["sent"] == r["enqueued"] and not r["twice"] else 0)
