"""Two network-servers and two app-servers on one PostgreSQL, Redis and broker: together they do what one does, also when one of
them is killed or leaves."""

import base64
import json

import pytest

import lw
from lw.gateway import payload
from lw.stack import Stack, World
from lw.traffic import Traffic
from test_http_integration import Receiver


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    s = Stack(tmp_path_factory.mktemp("replicas"), replicas=2)
    others_are_seen(s)
    yield s
    s.close()


def others_are_seen(stack):
    """Each has a lease, and the other one knows it."""
    for d in (*stack.nss, *stack.apps):
        lw.wait_for(lambda: "replicas changed" in d.output() and '"others":0' not in d.output().splitlines()[-1],
                    text=f"{d.dir} has seen the other one")


@pytest.fixture
def world(stack):
    stack.wait_healthy()
    w = World(stack)
    yield w
    w.close()


@pytest.fixture
def traffic(world):
    t = Traffic(world)
    t.start()
    t.more(12)
    yield t
    t.stop()


def total(daemons, series):
    return sum(d.metrics().get(series, 0) for d in daemons if d.running())


def test_both_copies_of_an_uplink(stack, world):
    """Whichever network-server gets a gateway's copy. On a busy machine one or the other comes after the window."""
    gateways = [world.gateway(position=(52.0 + i / 100, 4.0, 10.0)) for i in range(2)]
    d = world.device(otaa=False)
    split, whole = 0, 0
    for n in range(1, 13):
        before = [ns.metrics()['longwave_ns_gateway_events_total{event="up"}'] for ns in stack.nss]
        world.send(d, *gateways, data=b"%d" % n)
        up = stack.events.wait(d.dev_eui, "up", n)
        got = [ns.metrics()['longwave_ns_gateway_events_total{event="up"}'] for ns in stack.nss]
        split += all(b > a for a, b in zip(before, got))
        whole += sorted(rx["gatewayId"] for rx in up["rxInfo"]) == sorted(g.id for g in gateways)
        assert base64.b64decode(up["data"]) == b"%d" % n
    assert split > 0, "all copies went to one network-server: nothing was tested"
    assert whole >= 10, whole
    assert len(stack.events.of(d.dev_eui, "up")) == 12


def test_before_they_know_each_other(tmp_path):
    """They see each other with the next renewal of their leases. Until then none tells the other what is new: who does not
    know a gateway, a profile, an address or a device asks the database."""
    stack = Stack(tmp_path, replicas=2, **{"network-server": {"replica_lease": "300s"}})
    try:
        world = World(stack)
        g = world.gateway()
        # Each one's memory says that nobody has this address.
        stranger = world.device(register=False)
        world.activate(stranger, register=False)
        dropped = 'longwave_ns_uplink_drops_total{reason="UNKNOWN_DEVICE"}'

        def both_said_nobody():
            world.send(stranger, g)
            return all(ns.metrics().get(dropped, 0) for ns in stack.nss)

        lw.wait_for(both_said_nobody, step=0.3, text="both drop the stranger's frames")
        devices = [world.device(otaa=False) for _ in range(3)]
        devices.append(world.device(otaa=False, dev_addr=stranger.dev_addr))
        joiners, alone = [world.device() for _ in range(4)], world.gateway()
        for n in range(1, 5):  # to the one and to the other
            for d in devices:
                world.send(d, g, data=b"%d" % n)
            for d in devices:
                assert base64.b64decode(stack.events.wait(d.dev_eui, "up", n)["data"]) == b"%d" % n
            world.join(joiners.pop(), alone)
        assert any("replicas changed" not in ns.output() for ns in stack.nss), "nothing was tested"
    finally:
        stack.close()


def test_late_to_one_that_knows_of_nobody(tmp_path):
    """A network-server comes back without Redis to what the broker kept for it. The other one has written newer frames of the device
    meanwhile: the older ones are no replays."""
    stack = Stack(tmp_path, replicas=2)
    try:
        world = World(stack)
        g, d = world.gateway(), world.device(otaa=False)
        world.send(d, g, data=b"0")
        stack.events.wait(d.dev_eui, "up", 1)
        late = stack.nss[0]
        late.kill()
        stack.redis.kill()

        def counters():
            return [json.loads(e.raw).get("fCnt", 0) for e in stack.events.of(d.dev_eui, "up")]

        for n in range(1, 8):  # the broker keeps every other one for who is away
            world.send(d, g, data=b"%d" % n)
        lw.wait_for(lambda: max(counters()) >= len(counters()), text="a newer one has come before an older one")
        late.start(wait=False)
        lw.wait_for(lambda: len(counters()) == 8, text="all have come")
        assert sorted(counters()) == list(range(8))
    finally:
        stack.close()


def test_made_here_and_used_there(stack, world):
    """A login, a device and a gateway made on one app-server are known to all at once."""
    g = world.gateway()
    world.rest = stack.rests[1]
    world.rest.token = stack.rests[0].token
    d = world.device()
    for n in range(1, 5):
        world.join(d, g)
        world.send(d, g, data=b"hello")
        stack.events.wait(d.dev_eui, "up", n)
    # Taken away on one, and gone on the other.
    stack.rests[0].delete(f"/api/devices/{d.dev_eui}")
    stack.rests[1].get(f"/api/devices/{d.dev_eui}", expect=404)


def test_downlinks_and_their_answers(stack, world):
    """Queued on either app-server, answered by a gateway to either network-server."""
    g = world.gateway()
    d = world.device()
    world.join(d, g)
    for _ in range(4):  # what the network asks of a new device
        world.send(d, g, data=b"up")
        stack.events.wait(d.dev_eui, "up", len(stack.events.of(d.dev_eui, "up")) + 1)
    g.offers()
    seen = set()
    for n in range(6):
        stack.rests[n % 2].post(f"/api/devices/{d.dev_eui}/queue", {"queueItem": {
            "devEui": d.dev_eui, "fPort": 10, "data": base64.b64encode(b"down %d" % n).decode()}})
        world.send(d, g, data=b"up")
        down = d.downlink(payload(g.next_txpk()))
        assert down.data == b"down %d" % n and down.f_cnt not in seen
        seen.add(down.f_cnt)
        stack.events.wait(d.dev_eui, "txack", n + 1)
    assert len(stack.events.of(d.dev_eui, "txack")) == 6


def test_an_integration_counts_at_once(stack, world):
    """Made on one app-server: what the other one takes from then on is written for it, too."""
    g = world.gateway()
    devices = []
    for _ in range(2):  # their numbers go up by two, and lanes by the number: even and odd ones, so that both have some
        devices += [world.device(otaa=False) for _ in range(8)]
        world.gateway()

    def all_send(n):
        for d in devices:
            world.send(d, g, data=b"%d" % n)
        for d in devices:
            stack.events.wait(d.dev_eui, "up", n)

    def took(series):
        return [a.metrics().get(series, 0) for a in stack.apps]

    before, n = took("longwave_as_events_total"), 0
    while not all(b > a for a, b in zip(before, took("longwave_as_events_total"))):
        n += 1
        assert n < 50, "the events are not divided"
        all_send(n)
    receiver = Receiver()
    try:
        # Each knows of what there was, and looks again by itself only in two seconds.
        written = took("longwave_as_integration_written_total")
        world.rest.post(f"/api/applications/{world.app}/integrations/http", {"integration": {
            "encoding": "JSON", "headers": {}, "eventEndpointUrl": receiver.url}})
        all_send(n + 1)
        receiver.wait(len(devices))
        assert took("longwave_as_integration_written_total")[1] > written[1], "nothing was tested"
    finally:
        receiver.stop()


def check_settled(stack, traffic):
    traffic.stop()
    traffic.settle()
    assert len(traffic.acknowledged()) == len(traffic.sent)
    traffic.check()


@pytest.mark.parametrize("kind", ["nss", "apps"])
@pytest.mark.parametrize("which", [0, 1])
def test_kill_one(stack, traffic, kind, which):
    d = getattr(stack, kind)[which]
    traffic.more(20)
    d.kill()
    traffic.more(150)  # longer than its lease
    d.start(wait=False)
    lw.wait_for(lambda: stack.healthy(d), text="health")
    traffic.more(25)
    check_settled(stack, traffic)


@pytest.mark.parametrize("kind", ["nss", "apps"])
@pytest.mark.parametrize("which", [0, 1])
def test_one_leaves(stack, traffic, kind, which):
    """SIGTERM under traffic: the others go on without a gap."""
    d = getattr(stack, kind)[which]
    traffic.more(20)
    assert d.stop() == 0
    traffic.more(60)
    d.start(wait=False)
    lw.wait_for(lambda: stack.healthy(d), text="health")
    traffic.more(25)
    check_settled(stack, traffic)


def test_one_is_gone_for_good(stack, traffic):
    """What the broker and the outbox kept for it arrives although it never comes back."""
    ns = stack.nss[1]
    for app in stack.apps:
        app.kill()
    traffic.more(30)  # events fill both outboxes
    ns.kill()
    traffic.more(10)
    for app in stack.apps:
        app.start(wait=False)
    for app in stack.apps:
        lw.wait_for(lambda: stack.healthy(app), text="health")
    lw.wait_for(lambda: "replica that is gone" in stack.nss[0].output(), text="the heir")
    check_settled(stack, traffic)
    ns.start(wait=False)
    stack.wait_healthy()


def test_a_wiped_redis(stack, traffic):
    for _ in range(3):
        stack.redis.command("FLUSHALL")
        traffic.more(15)
    check_settled(stack, traffic)
