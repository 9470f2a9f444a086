"""Devices that never answer, gateways that never acknowledge: does it cost more than a network that works?"""

from benches import Row
from benches.uplinks import judge, print_step

TITLE = """devices that never answer MAC commands behind gateways that never acknowledge
   New ABP devices, not settled, 30 uplinks of each; the simulator answers no MAC command (--deaf) and no downlink (--silent-acks).
   A request that stays unanswered is repeated after 1, 2, 4, 8 … uplinks: counted as downlinks that reach gateways per uplink."""
DEFAULT, ORDER = True, 60
ROWS = [
    Row("deaf_downlinks", "downlinks per uplink, devices deaf and gateways silent", "", 0.25, 0.15, more=False),
    Row("deaf_cpu", "CPU per uplink of that network at 1,000/s, all processes", "µs", None, None, more=False),
]
RATE, ROUNDS = 1000, 30


def run(ctx):
    devices = 1000
    with ctx.stack() as stack:
        base = ["--gateways", 50, "--copies", 2, "--devices", devices, "--abp", "--seed", 5, "--deaf", "--silent-acks"]
        stack.provision(*base)
        seconds = devices * ROUNDS // RATE
        r = stack.sim(*base, "--rate", RATE, "--duration", seconds)
        r["rate"] = RATE
        judge(r, seconds)
        print_step(r)
        m = r["measure"]
        ctx.data.update(step=r, drops=m.series("network-server", "downlink_drops_total"))
        arrived = f"{r['delivered']} of {r['accepted']} arrived, p99 {r.get('latency_ms', {}).get('p99', 0):.0f} ms"
        ctx.put("deaf_downlinks", r["pull_resps"] / max(1, r["delivered"]), f"{r['pull_resps']} downlinks in {ROUNDS} uplinks of {devices} devices")
        ctx.put("deaf_cpu", sum(r["cpu_us"].values()), arrived)
