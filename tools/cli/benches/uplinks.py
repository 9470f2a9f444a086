"""How many uplinks a second, what each costs, how often a store is asked for it."""

from benches import Row
from benches._context import EVENT_BYTES
from machine import Failed

TITLE = """unique uplinks/s, UDP to the application's topic
   ABP devices that have settled send 8 bytes; two of 100 gateways hear each uplink, their datagrams within 50 ms. An uplink counts when
   its JSON event reaches a subscriber of the application's topic. The rate is raised in steps; sustained is the highest at which
   at least 99.5 % arrive, none twice, and the 99th percentile beyond the dedup window stays under a second. CPU: all processes but the
   simulator, divided by the uplinks of the highest sustained step."""
DEFAULT, ORDER = True, 30
RATES = "3000,6000,8000,10000,12000,14000"
ROWS = [
    Row("uplinks", "unique uplinks/s, 2 gateways each, UDP → application topic", "/s", 6000, 12000,
        reference="300–350 with p99 under a second, 420 with a growing backlog"),
    Row("uplink_cpu", "CPU per uplink, all processes together, broker and stores included", "µs", 200, 100, more=False,
        reference="4.4–7.2 ms"),
    Row("round_trips", "store round trips per uplink at full load", "", 0.1, 0.02, more=False, reference="17 logical, 34 on the wire"),
]


def add_options(p):
    p.add_argument("--rates", default=RATES, help=f"steps of uplinks/s ({RATES})")


def judge(r, seconds):
    late = r.get("beyond_ms", {"p99": 1e9})["p99"]
    r["sustained"] = r["delivered"] >= 0.995 * r["accepted"] and r["accepted"] >= 0.98 * r["uplinks"] and \
        r["duplicates"] == 0 and late < 1000 and r["uplinks"] >= 0.95 * r["rate"] * seconds
    return r


def print_step(r):
    lat = r.get("beyond_ms", {})
    n = max(1, r["delivered"])
    print(f"  {r['rate']:6d}/s  delivered {r['delivered']:7d} of {r['accepted']:7d} accepted  twice {r['duplicates']}  missing {r['missing']}"
          f"  beyond the window p50 {lat.get('p50', 0):6.1f} ms p99 {lat.get('p99', 0):7.1f} ms  CPU {sum(r['cpu_us'].values()):5.0f} "
          f"us/uplink  {'sustained' if r['sustained'] else 'NOT sustained'}")
    print("            CPU, % of a core: " + "  ".join(f"{k} {v * n / r['seconds'] / 1e4:.0f}" for k, v in r["cpu_us"].items())
          + "   wakes/uplink: " + "  ".join(f"{k} {v:.2f}" for k, v in r["wakes"].items() if k != "geo-server"), flush=True)


def run(ctx):
    net = ctx.network()
    top = ctx.ceiling(net.stack, 1, EVENT_BYTES)
    best, steps, rates = None, [], list(map(int, ctx.opt.rates.split(",")))
    while rates:
        rate = rates.pop(0)
        r = judge(net.traffic(rate, ctx.opt.seconds), ctx.opt.seconds)
        steps.append(r)
        print_step(r)
        if r["sustained"]:
            best = r
            continue
        net.drain()
        if best is not None or rate < 500:
            break
        rates = [rate // 2]  # a busy or slow machine: what does it carry?
    ctx.data.update(ceiling=top, steps=steps)
    if best is None:
        raise Failed("no rate was sustained")
    parts = " / ".join(f"{k} {v:.0f}" for k, v in sorted(best["cpu_us"].items(), key=lambda kv: -kv[1]) if v >= 0.5)
    daemons = {k: best["rss_mb"][k] for k in net.stack.daemons}
    print("  RSS under load, MB: " + "  ".join(f"{k} {v:.1f}" for k, v in daemons.items()) + f"  together {sum(daemons.values()):.1f}")
    lat = best["beyond_ms"]
    ctx.put("uplinks", best["rate"], f"{best['rate'] / top:.2f} × the broker's ceiling of {top:,.0f}/s; p50 / p99 beyond the window "
            f"{lat['p50']:.0f} / {lat['p99']:.0f} ms", aim=max(12000.0, 0.4 * top))
    ctx.put("uplink_cpu", sum(best["cpu_us"].values()), parts)
    trips = best["measure"].round_trips()
    ctx.data["round_trips"] = trips
    text = ", ".join(f"{k} {v / best['delivered']:.3f}" for k, v in trips.items())
    if any("sql" in k for k in trips):
        ctx.put("round_trips", sum(trips.values()) / best["delivered"], text)
    else:
        ctx.put("round_trips", None, f"SQL is not counted; {text}")
