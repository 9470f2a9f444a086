"""kill -9 under traffic: nothing that the bridge had is lost, nothing comes twice, no counter is used twice, nobody joins again."""

import base64
import json
import signal
import subprocess
import time
from collections import Counter

import pytest

import lw
from lw.stack import World, store
from lw.traffic import Traffic

OWN_STACK = {}


@pytest.fixture
def traffic(stack):
    stack.wait_healthy()
    w = World(stack)
    t = Traffic(w)
    t.start()
    t.more(12)
    yield t
    t.stop()
    w.close()


@pytest.mark.parametrize("name", ["ns", "app", "geo"])
@pytest.mark.parametrize("again", [1, 2])
def test_kill_a_server(stack, traffic, name, again):
    d = getattr(stack, name)
    traffic.more(10 * again)
    d.kill()
    traffic.more(30)
    d.start(wait=False)
    lw.wait_for(lambda: stack.healthy(d), text=f"health of {name}")
    traffic.more(25)
    traffic.stop()
    traffic.settle()
    # The bridge was there all the time.
    assert len(traffic.acknowledged()) == len(traffic.sent)
    traffic.check()


def test_kill_ns_and_app_at_once(stack, traffic):
    stack.app.kill()
    stack.ns.kill()
    traffic.more(20)
    stack.app.start(wait=False)
    stack.ns.start(wait=False)
    stack.wait_healthy()
    traffic.more(25)
    traffic.stop()
    traffic.settle()
    assert len(traffic.acknowledged()) == len(traffic.sent)
    traffic.check()


def test_flush_redis(stack, traffic):
    for _ in range(4):
        assert stack.redis.command("FLUSHALL") == b"+OK\r\n"
        traffic.more(15)
    traffic.stop()
    traffic.settle()
    assert len(traffic.acknowledged()) == len(traffic.sent)
    traffic.check()


def test_kill_redis(stack, traffic):
    stack.redis.kill()
    traffic.more(25)
    stack.redis.start()
    traffic.more(25)
    traffic.stop()
    traffic.settle()
    assert len(traffic.acknowledged()) == len(traffic.sent)
    traffic.check()


def test_kill_the_bridge(stack, traffic):
    """Only what was sent while it was away is missing."""
    answered = list(traffic.sent)
    lw.wait_for(lambda: all(any(g.acked(t) for g, t in u.tokens) for u in answered), text="the bridge's answers")
    stack.bridge.kill()
    traffic.more(20)
    before = [g.pulled for g in traffic.gateways]
    stack.bridge.start()
    back = time.monotonic()
    for g, n in zip(traffic.gateways, before):
        g.wait_pulled(after=n)
    traffic.more(25)
    traffic.stop()
    traffic.settle()
    taken = {id(u) for u in traffic.acknowledged()}
    missing = [u for u in traffic.sent if id(u) not in taken]
    assert missing and all(u.at < back for u in missing), [u.at - back for u in missing]
    traffic.check()


def test_broker_stalls(stack, traffic):
    """It takes nothing for a while: all wait, nobody loses anything."""
    stack.mosquitto.proc.send_signal(signal.SIGSTOP)
    try:
        traffic.more(70)
    finally:
        stack.mosquitto.proc.send_signal(signal.SIGCONT)
    traffic.more(25)
    traffic.stop()
    traffic.settle()
    assert len(traffic.acknowledged()) == len(traffic.sent)
    traffic.check()


if store() == "postgres":
    def test_kill_the_database(stack, traffic):
        stack.pg.kill()
        traffic.more(30)
        stack.pg.start()
        stack.wait_healthy()
        traffic.more(25)
        traffic.stop()
        traffic.settle()
        assert len(traffic.acknowledged()) == len(traffic.sent)
        traffic.check()


@pytest.mark.only_store("postgres")
def test_a_transaction_outlives_its_network_server(stack):
    """PostgreSQL is still at a transaction of a network-server that was killed: another session holds the device's row. What it
    writes in the end must not come behind numbers that are acknowledged by then: it would be removed with them, unheard, and the
    network-server's own copy of the uplink, from its journal, would pass for a repetition."""
    stack.wait_healthy()
    w = World(stack)
    gw = w.gateway()
    late, other = w.device(), w.device()
    for d in (late, other):
        w.join(d, gw)
        w.send(d, gw, data=b"before")
        lw.wait_for(lambda: stack.events.of(d.dev_eui, "up"), text="an uplink")
    psql = [f"{stack.pg.bin}/psql", "-h", "127.0.0.1", "-p", str(stack.pg.port), "-U", "lw", "-qAt", "postgres"]

    def ask(text):
        return subprocess.check_output([*psql, "-c", text], text=True).strip()

    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE device%'"
    lock = subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        lock.stdin.write(f"BEGIN;\nSELECT 'held' FROM ns.device WHERE dev_eui = ('x{late.dev_eui}')::bit(64)::bigint FOR UPDATE;\n")
        lock.stdin.flush()
        assert lock.stdout.readline() == "held\n"
        w.send(late, gw, data=b"late")
        lw.wait_for(lambda: ask(waits) == "1", text="a transaction that waits for the row")
        before = ask("SELECT now()")
        stack.ns.kill()
        stack.ns.start(wait=False)
        # The copy from the journal waits, too, and what was in the outbox has been read.
        lw.wait_for(lambda: ask(f"{waits} AND backend_start > '{before}'") == "1", text="a transaction of the new network-server")
        lw.wait_for(lambda: "application server hears events" in stack.ns.output(), text="the event stream")
        w.send(other, gw, data=b"other")
    finally:
        lock.stdin.close()  # ends the session, and its transaction
        lock.wait()

    def heard(d):
        return [base64.b64decode(json.loads(e.raw)["data"]) for e in stack.events.of(d.dev_eui, "up")]

    lw.wait_for(lambda: heard(other) == [b"before", b"other"], text="the uplink of the other device")
    lw.wait_for(lambda: b"late" in heard(late), text="the uplink under way when the network-server was killed")
    assert heard(late) == [b"before", b"late"]
    w.close()


def test_kill_the_broker(stack, traffic):
    """It has forgotten what it acknowledged since its last save. The bridge says it again; what the network-server has had it
    drops without a word to the user. An application that was cut off may hear an event twice, with the same id. The broker has
    forgotten the application, too, and keeps nothing for it until it is back: the app-server stands still so long."""
    def again():
        return stack.ns.metrics()["longwave_ns_gateway_events_again_total"]

    before = again()
    stack.mosquitto.kill()
    traffic.more(20)
    stack.app.proc.send_signal(signal.SIGSTOP)
    try:
        stack.mosquitto.start()
        stack.events.reconnected()
    finally:
        stack.app.proc.send_signal(signal.SIGCONT)
    stack.wait_healthy()
    traffic.more(25)
    traffic.stop()
    traffic.settle()
    assert len(traffic.acknowledged()) == len(traffic.sent)
    got = traffic.delivered()
    assert not [u.data for u in traffic.sent if not got[(u.device.dev_eui, u.data)]], "lost"
    assert again() > before
    assert not traffic.wrong
    for d in traffic.devices:
        assert d.joins == 1 and len(stack.events.of(d.dev_eui, "join")) == 1
        logs = [json.loads(e.raw)["code"] for e in stack.events.of(d.dev_eui, "log")]
        assert not [c for c in logs if c == "OTAA" or "F_CNT" in c], "copies are nobody's fault"
        ids = {}
        for e in stack.events.of(d.dev_eui, "up"):
            up = json.loads(e.raw)
            ids.setdefault(up["data"], set()).add(up["deduplicationId"])
        assert all(len(x) == 1 for x in ids.values()), "taken twice"


def test_broker_restarts(stack, traffic):
    """Mosquitto 2.0 comes back without its shared subscriptions, and says so to who speaks MQTT 5: the bridge keeps what
    nobody hears until a network-server has subscribed again.

    What was under way when the broker ended comes twice, as QoS 1 has it, with one deduplicationId: the broker repeats (DUP) what
    the application had not acknowledged, and the app-server what the broker had not. Nothing older does."""
    def said():
        mine = {d.dev_eui for d in traffic.devices}
        return Counter(json.loads(e.raw)["deduplicationId"] for e in stack.events.all("up") if e.dev_eui in mine and not e.dup)

    traffic.stop()
    traffic.settle()
    older = said()
    traffic.settle()  # one more of each device: the broker took the older ones before, and said so
    traffic.start()
    traffic.more(12)
    stack.mosquitto.stop()
    traffic.more(20)
    stack.mosquitto.start()
    stack.wait_healthy()
    stack.events.reconnected()
    traffic.more(25)
    traffic.stop()
    traffic.settle()
    assert len(traffic.acknowledged()) == len(traffic.sent)
    traffic.check(cut_off=True)
    assert older and not {x for x, n in said().items() if n > 1} & set(older), "the app-server repeats what the broker had taken"
