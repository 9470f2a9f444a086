#!/usr/bin/env python3
"""How a network of a given size is laid out, computed from measured costs: which part saturates first, what is added, how much.

    python3 tests/bench/scale.py [--costs COSTS.json] [--devices N[,N…]] [--uplinks-per-day N] [--json]
    python3 tests/bench/scale.py --from build/bench.json      writes COSTS.json from what `./longwave bench` has measured
                                                              (uplinks latency idle joins fanout registered where)

Deterministic: no clock, no randomness. Prints the tables of docs/scale.md. The model is a sum: what comes in a second at the busy hour, times
the measured CPU of each in each process, divided by the share of a core that a process may be busy. What it leaves out is in docs/scale.md.
"""

import argparse
import json
import math
from pathlib import Path

COSTS = Path(__file__).with_name("scale_costs.json")
PARTS = ("gateway-bridge", "mosquitto", "network-server", "redis", "app-server", "database")
BUSY_HOUR = 2.0              # traffic of the busiest hour over the mean
BUSY_MAX = 0.6               # of a core: above it, latency and recovery after a stop suffer
DOWNLINKS_PER_UPLINK = 0.05
OUTAGE_S, OUTAGE_SHARE = 3600, 0.2  # after a power cut a fifth of all devices joins within an hour
CACHED_DEVICES = 300_000     # of which the network-server keeps the session in memory at most
BROKER_MESSAGES = 3          # per uplink: two receptions in, one event out


# ---- costs

def from_bench(doc):
    """What the model needs, out of build/bench.json."""
    b = doc["benches"]
    steps = [s for s in b["uplinks"]["data"]["steps"] if s["sustained"]]
    best = steps[-1]
    points = {400: b["idle"]["data"]["cpu_us"], 1000: b["latency"]["data"]["step"]["cpu_us"], best["rate"]: best["cpu_us"]}
    where = b["where"]["data"][max(b["where"]["data"], key=int)]
    database = sum(where["cpu_us"][d] * share / 100 for d in ("network-server", "app-server")
                   for lib, share in where["libraries"][d].items() if "sqlite" in lib)
    sizes = {int(n): x["rss_used"] for n, x in b["registered"]["data"].items() if "rss_used" in x}
    largest = max(sizes)
    idle = b["idle"]["data"]["idle"]
    base = idle["network-server"] + idle["app-server"]
    return {
        "source": {n: b[n]["commit"] for n in ("idle", "latency", "uplinks", "joins", "fanout", "registered", "where")},
        "cpu_us_per_uplink_at": {str(rate): {p: cpu.get(p, 0.0) for p in PARTS[:-1]} for rate, cpu in sorted(points.items())},
        "sqlite_us_per_uplink": database,
        "disk_bytes_per_uplink": sum(where["written"][d] for d in ("network-server", "app-server")),
        "cpu_us_per_join": {p: b["joins"]["data"]["1500"]["cpu_us"].get(p, 0.0) for p in PARTS[:-1]},
        "cpu_us_per_downlink": {p: next(iter(b["fanout"]["data"].values()))["cpu_us"].get(p, 0.0) for p in PARTS[:-1]},
        "broker_ceiling_messages_s": b["uplinks"]["data"]["ceiling"],
        "servers_base_mb": base,
        "servers_bytes_per_device": max(0.0, sizes[largest] - base) * 1e6 / largest,
        "servers_measured_at_devices": largest,
    }


def cost_at(costs, part, rate):
    """CPU of an uplink in a process that handles `rate` a second: between the measured rates on a logarithmic scale, outside the nearest."""
    points = sorted((int(r), c[part]) for r, c in costs["cpu_us_per_uplink_at"].items())
    if rate <= points[0][0]:
        return points[0][1]
    for (r0, c0), (r1, c1) in zip(points, points[1:]):
        if rate <= r1:
            return c0 + (c1 - c0) * math.log(rate / r0) / math.log(r1 / r0)
    return points[-1][1]


# ---- model

def demand(devices, uplinks_per_day):
    up = devices * uplinks_per_day / 86400 * BUSY_HOUR
    return {"uplink": up, "downlink": up * DOWNLINKS_PER_UPLINK, "join": devices * OUTAGE_SHARE / OUTAGE_S}


def busy(costs, part, load, n=1):
    """Cores busy in each of n processes of this part."""
    up = costs["sqlite_us_per_uplink"] if part == "database" else cost_at(costs, part, load["uplink"] / n)
    us = load["uplink"] * up + load["join"] * costs["cpu_us_per_join"].get(part, 0) + load["downlink"] * costs["cpu_us_per_downlink"].get(part, 0)
    return us / 1e6 / n


def processes(costs, part, load):
    n = 1
    while busy(costs, part, load, n) > BUSY_MAX or (
            part == "mosquitto" and load["uplink"] * BROKER_MESSAGES / n > BUSY_MAX * costs["broker_ceiling_messages_s"]):
        n += 1
    return n


def layout(costs, devices, uplinks_per_day):
    load = demand(devices, uplinks_per_day)
    parts = {}
    for part in PARTS:
        n = processes(costs, part, load)
        parts[part] = {"processes": n, "busy": busy(costs, part, load, n)}
    replicas = max(parts["network-server"]["processes"], parts["app-server"]["processes"])
    return {"devices": devices, "load": load, "parts": parts, "cores": sum(x["busy"] * x["processes"] for x in parts.values()),
            "servers_mb": costs["servers_base_mb"] + costs["servers_bytes_per_device"] * min(devices / replicas, CACHED_DEVICES) / 1e6,
            "disk_bytes_s": load["uplink"] * costs["disk_bytes_per_uplink"]}


def limits(costs, uplinks_per_day=96):
    """(uplinks/s, part, why), the first to saturate first: where one process of this part needs a second."""
    found = []
    for part in PARTS:
        low, high = 1.0, 1e7
        while high / low > 1.001:
            rate = math.sqrt(low * high)
            load = demand(rate * 86400 / uplinks_per_day / BUSY_HOUR, uplinks_per_day)
            low, high = (rate, high) if processes(costs, part, load) == 1 else (low, rate)
        found.append((low, part))
    return sorted(found)


# ---- what is printed

ANSWERS = {
    "gateway-bridge": ("a second bridge; each gateway knows one", "another `listeners` host; `mqtt.server`"),
    "mosquitto": ("a clustered MQTT 5 broker with shared subscriptions", "`mqtt.server` of all daemons: the cluster's address"),
    "network-server": ("replicas on one PostgreSQL", "`database.dsn: postgres://…`, a `replica` name and `state_dir` each"),
    "redis": ("Redis on a machine of its own", "`redis.url`"),
    "app-server": ("replicas on one PostgreSQL", "`database.dsn`, a `mqtt.client_id` and `state_dir` each; `network_server.address`"),
    "database": ("PostgreSQL on a machine of its own, then one that is distributed", "`database.dsn`"),
}


def print_layout(r):
    load = r["load"]
    print(f"**{r['devices']:,} devices**: {load['uplink']:,.0f} uplinks/s and {load['downlink']:,.0f} downlinks/s at the busy hour, "
          f"{load['join']:,.0f} joins/s after a power cut\n")
    print("| | " + " | ".join(PARTS) + " |")
    print("|---|" + "---|" * len(PARTS))
    print("| processes | " + " | ".join(str(x["processes"]) for x in r["parts"].values()) + " |")
    print("| cores busy, each | " + " | ".join(f"{x['busy']:.2f}" for x in r["parts"].values()) + " |")
    print(f"\n{r['cores']:.1f} cores busy in all; network- and app-server of one replica {r['servers_mb']:,.0f} MB; "
          f"{r['disk_bytes_s'] / 1e6:.1f} MB/s to the databases' disk.\n")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--costs", default=str(COSTS))
    p.add_argument("--from", dest="bench", metavar="BENCH.json")
    p.add_argument("--devices", default="10000,100000,1000000,10000000")
    p.add_argument("--uplinks-per-day", type=float, default=96, help="of each device (96: one every 15 minutes)")
    p.add_argument("--json", action="store_true")
    opt = p.parse_args()
    if opt.bench:
        costs = from_bench(json.loads(Path(opt.bench).read_text()))
        Path(opt.costs).write_text(json.dumps(costs, indent=1) + "\n")
    costs = json.loads(Path(opt.costs).read_text())
    done = [layout(costs, int(n), opt.uplinks_per_day) for n in opt.devices.split(",")]
    if opt.json:
        print(json.dumps({"limits": limits(costs, opt.uplinks_per_day), "layouts": done}, indent=1))
        return
    print("| first at its limit | one process is enough up to, uplinks/s | then | setting |\n|---|---|---|---|")
    for rate, part in limits(costs, opt.uplinks_per_day):
        text, setting = ANSWERS[part]
        print(f"| {part} | {rate:,.0f} | {text} | {setting} |")
    print()
    for r in done:
        print_layout(r)


if __name__ == "__main__":
    main()
