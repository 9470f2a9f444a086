"""What a fault run must show, and its counts as a table."""

import json
import os
import sqlite3
import subprocess
import time
from collections import Counter

# An uplink acknowledged over UDP this shortly before the bridge's kill may still have been in the bridge's memory alone.
BRIDGE_WINDOW_S = 0.1


class Report:
    def __init__(self):
        self.rows, self.failures = [], []

    def row(self, name, value, bad=False, why=""):
        self.rows.append((name, value, "" if not bad else "FAILED"))
        if bad:
            self.failures.append(f"{name}: {value}{': ' + why if why else ''}")

    def text(self):
        wide = max(len(r[0]) for r in self.rows)
        return "\n".join(f"  {n:<{wide}}  {v!s:>9}  {s}".rstrip() for n, v, s in self.rows)


def _kills_between(kills, name, begin, end):
    return any(k.name == name and begin <= k.at <= end for k in kills)


def uplinks(r, field, kills):
    accepted, got = field.accepted(), field.books.up
    bridge = [k.at for k in kills if k.name.startswith("gateway-bridge")]
    lost, window = [], []
    for u, at in accepted:
        if (u.device.dev_eui, u.data) in got:
            continue
        before = [k - at for k in bridge if k - at > -0.05]
        (window if before and min(before) < BRIDGE_WINDOW_S else lost).append((u, at, min(before, default=None)))
    r.row("uplinks sent by devices", len(field.sent))
    r.row("uplinks accepted by the bridge", len(accepted))
    r.row("accepted uplinks delivered", len(accepted) - len(lost) - len(window))
    r.row("delivered without a PUSH_ACK seen", len({(u.device.dev_eui, u.data) for u in field.sent} & set(got)) - (len(accepted) - len(lost) - len(window)))
    r.row("lost", len(lost), bool(lost), str([(u.data.decode(), round(at - kills[0].at, 3) if kills else at) for u, at, _ in lost[:8]]))
    r.row("lost in the bridge's memory at its kill", len(window))
    if window:
        r.row("… longest time from PUSH_ACK to the kill, ms", round(1000 * max(x[2] for x in window), 1))
    sent = {(u.device.dev_eui, u.data) for u in field.sent}
    twice = {k: dict(n) for k, n in got.items() if len(n) > 1}
    r.row("delivered with two deduplicationIds", len(twice), bool(twice), str(list(twice.items())[:4]))
    r.row("delivered, never sent", len(set(got) - sent), bool(set(got) - sent))
    repeats = sum(sum(n.values()) - len(n) for n in got.values())
    broker = any(k.name == "mosquitto" for k in kills)
    r.row("repeats with the same deduplicationId", repeats, bool(repeats) and not broker)
    disorder = sum(1 for v in field.books.order.values() for a, b in zip(v, v[1:]) if b < a)
    r.row("delivered out of the order of counters", disorder)


def joins(r, field):
    again = {d.dev_eui: d.joins for d in field.devices if d.joins != 1}
    peace = {e: len(field.books.join[e]) for e in field.joined_in_peace if len(field.books.join[e]) != 1}
    late = [d for d in field.joiners if d.dev_eui not in field.joined_in_peace]
    tried = [d for d in late if field.join_requests[d.dev_eui]]
    out = [d.dev_eui for d in tried if d.joins != 1]
    many = {d.dev_eui: len(field.books.join[d.dev_eui]) for d in tried
            if not 1 <= len(field.books.join[d.dev_eui]) <= field.join_requests[d.dev_eui]}
    r.row("devices joined before and during the faults", f"{len(field.joined_in_peace)} + {len(tried)}")
    r.row("join-requests during the faults", sum(field.join_requests[d.dev_eui] for d in tried))
    r.row("devices that never got in", len(out), bool(out), str(out))
    r.row("devices that joined again", len(again) + len(peace), bool(again or peace), f"{again} {peace}")
    r.row("join events too few or too many", len(many), bool(many), str(many))


def downlinks(r, field, left):
    taken = [x for x in field.downs if x.acked]
    for by in ("api", "mqtt"):
        r.row(f"downlinks accepted by {by}", sum(1 for x in taken if x.by == by))
    forgotten = [x for x in taken if not field.heard[(x.device.dev_eui, x.data)] and x.id not in left]
    r.row("heard by the device", sum(1 for x in taken if field.heard[(x.device.dev_eui, x.data)]))
    r.row("heard twice (sent again, with a counter of its own)", sum(1 for x in taken if field.heard[(x.device.dev_eui, x.data)] > 1))
    r.row("still in a queue", len(left), bool(left), str(list(left)[:4]))
    r.row("forgotten", len(forgotten), bool(forgotten), str([(x.by, x.data, x.device.dev_eui, x.confirmed) for x in forgotten[:6]]))
    confirmed = [x for x in taken if x.confirmed]
    silent = [x for x in confirmed if not field.books.ack[x.id]]
    r.row("confirmed downlinks: acknowledged events", sum(1 for x in confirmed if any(field.books.ack[x.id])))
    r.row("… told to be unacknowledged", sum(1 for x in confirmed if field.books.ack[x.id] and not any(field.books.ack[x.id])))
    r.row("… no event", len(silent), bool(silent), str([(x.by, x.data, x.device.dev_eui) for x in silent[:6]]))
    no_txack = [x for x in taken if field.heard[(x.device.dev_eui, x.data)] and not field.books.txack[x.id]]
    r.row("heard, but no txack event (TX_ACK lost with a killed process)", len(no_txack))
    reused = sum("used for another" in w for w in field.wrong)
    r.row("downlink counters used for two frames", reused, bool(reused))
    r.row("same frame sent twice", sum(n - 1 for n in field.frames.values()))
    r.row("refused by a gateway as too late", field.refused["TOO_LATE"])
    r.row("on the air when the device had sent again", field.refused["missed"])
    r.row("frames that a device could not take", len(field.wrong), bool(field.wrong), str(field.wrong[:4]))


def _traces(stack, lost):
    """What the database says about events that are missing: stored or not, waiting, given up."""
    if not (stack.pg and lost):
        return ""
    ids = ",".join(f"'{i}'" for i in list(lost)[:8])
    return query(stack, "SELECT e.idempotency, e.origin, e.origin_seq, e.seq, (SELECT count(*) FROM app.integration_delivery AS d"
                 " WHERE d.event_seq = e.seq) AS waiting, (SELECT max(error) FROM app.integration_dead AS x WHERE x.event_seq = e.seq) AS dead"
                 f" FROM app.integration_event AS e WHERE e.idempotency IN ({ids})").replace("\n", "; ") or "none of them is stored"


def webhook(r, field, receiver, kills, stack):
    if receiver is None:
        r.row("HTTP integration", "absent", False)
        return
    seen, repeats, strange = Counter(), 0, 0
    ids = {}
    for line in receiver.file.read_text().splitlines():
        x = json.loads(line)
        e = x["event"]
        if not x["path"].endswith("event=up"):
            continue
        dedup = e["deduplicationId"]
        strange += (x["key"] or "").split("/")[0].split(":")[0] not in ("", dedup) and dedup not in (x["key"] or "")
        seen[dedup] += 1
        ids[dedup] = e
    told = {i for n in field.books.up.values() for i in n}
    lost = told - set(seen)
    repeats = sum(n - 1 for n in seen.values())
    r.row("uplinks at the webhook", len(seen))
    began = kills[0].at if kills else 0
    when = {i: round(field.books.first_at[key] - began, 3) for key, n in field.books.up.items() for i in n if i in lost}
    r.row("lost at the webhook", len(lost), bool(lost), f"seconds after the first kill: {when}; stored: {_traces(stack, lost)}")
    r.row("repeats at the webhook", repeats, bool(repeats) and not kills)
    r.row("Idempotency-Key without the deduplicationId", strange, bool(strange))


def webhook_missing(field, receiver):
    seen = {json.loads(line)["event"].get("deduplicationId") for line in receiver.file.read_text().splitlines()}
    with field.books.lock:
        return {i for n in field.books.up.values() for i in n} - seen


def wait_webhook(field, receiver, patience):
    """Its back-off may be long: as long as something still comes."""
    best, changed = None, time.monotonic()
    while receiver and time.monotonic() - changed < patience:
        n = len(webhook_missing(field, receiver))
        if n == 0:
            return
        if best is None or n < best:
            best, changed = n, time.monotonic()
        time.sleep(0.3)


def stuck(r, stack, patience):
    """Queues, journals, spools: all empty after a while of peace."""
    want = {"gateway-bridge": ("longwave_gb_spool_events", "longwave_gb_mqtt_pending")}
    end = time.monotonic() + patience

    def left():
        out = {}
        for d in stack.daemons:
            series = d.metrics()
            for name, value in series.items():
                base = name.split("{")[0]
                if value and (base in want.get(d.name, ()) or base.endswith(("_flow_in_flight", "_journal_open_records"))):
                    out[f"{d.name} {name}"] = value
        for table in ("ns.outbox", "ns.queue_item", "app.ns_intent", "app.integration_delivery"):
            n = count(stack, table)
            if n:
                out[table] = n
        return out

    while (now := left()) and time.monotonic() < end:
        time.sleep(0.2)
    r.row("stuck: spools, journals, frames in flight, outbox, queues", len(now), bool(now), str(now))


def note_drops(drops, daemon):
    """Why a network-server dropped frames in this life: an uplink that is missing is one of these."""
    try:
        for series, n in daemon.metrics().items():
            if n and "_uplink_drops_total{" in series:
                drops[series.removeprefix("longwave_ns_")] += int(n)
    except OSError:
        pass


def drops(r, stack, before=()):
    total = Counter(before)
    for d in stack.daemons:
        if d.name == "network-server":
            note_drops(total, d)
    for series, n in sorted(total.items()):
        r.row(series, n)


def query(stack, text):
    p = subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(stack.pg.port), "-U", "lw", "-At", "-c", text, "postgres"],
                       capture_output=True, text=True, env=dict(os.environ, LC_ALL="C"))
    assert p.returncode == 0, f"{text}: {p.stderr}"
    return p.stdout.strip()


def count(stack, table):
    schema, name = table.split(".")
    if stack.pg:
        return int(query(stack, f"SELECT count(*) FROM {table}"))
    with sqlite3.connect(f"file:{stack.tmp}/{schema}.db?mode=ro", uri=True) as db:
        return db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
