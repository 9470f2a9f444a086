"""Multicast groups, from the API to the gateways, heard by devices that hold the group's keys."""

import base64
import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import lw
from lw import device as lorawan
from lw.gateway import gps_ms, payload
from lw.stack import Stack, World

OWN_STACK = {"network-server": {"network": {"multicast_class_c_margin": "1s", "multicast_class_b_margin": "2s"}}}
_addr = itertools.count(0x11000001)


class Group:
    """A group by REST, and a device that holds its keys."""

    def __init__(self, world, f_cnt=10, **more):
        self.rest, self.world = world.rest, world
        nwk, app = os.urandom(16), os.urandom(16)
        self.addr = next(_addr)
        self.body = {"name": "all", "applicationId": world.app, "region": "EU868", "mcAddr": f"{self.addr:08x}", "mcNwkSKey": nwk.hex(),
                     "mcAppSKey": app.hex(), "groupType": "CLASS_C", "dr": 3, "frequency": 869525000, "fCnt": f_cnt, **more}
        self.id = self.rest.post("/api/multicast-groups", {"multicastGroup": self.body})["id"]
        self.path = f"/api/multicast-groups/{self.id}"
        self.keys, self.f_cnt = (nwk, app), f_cnt

    def member(self):
        d = lorawan.Device("70b3d57effffffff")
        d.activate(self.addr, *[self.keys[0]] * 3, self.keys[1])
        d.next_down["n"] = self.f_cnt
        return d

    def add(self, *gateways):
        for g in gateways:
            self.rest.post(f"{self.path}/gateways", {"gatewayId": g.id})

    def enqueue(self, data, rest=None):
        item = {"fPort": 5, "data": base64.b64encode(data).decode()}
        return (rest or self.rest).post(f"{self.path}/queue", {"queueItem": item})["fCnt"]

    def queue(self):
        return self.rest.get(f"{self.path}/queue")["items"]

    def wait_empty(self):
        lw.wait_for(lambda: self.queue() == [], text="an empty queue")


def report(gateway):
    gateway.push({"stat": {"time": "2026-11-23 00:00:00 GMT", "rxnb": 0, "rxok": 0, "rxfw": 0, "ackr": 100.0, "dwnb": 0, "txnb": 0}})


def alive(world, *gateways):
    """The network-server has heard their statistics."""
    ids = {g.id for g in gateways}

    def online():
        for g in gateways:  # again, as gateways do: one of two network-servers may not know of it yet
            report(g)
        return ids <= {g["gatewayId"] for g in world.rest.get(f"/api/gateways?limit=100&tenantId={world.tenant}")["result"]
                       if g["state"] == "ONLINE"}

    lw.wait_for(online, step=0.5, text="the gateways online")


def test_class_c(world):
    """One gateway after the other; the same bytes; then the next item with the next counter."""
    gws = [world.gateway() for _ in range(2)]
    alive(world, *gws)
    g = Group(world)
    g.add(*gws)
    assert g.enqueue(b"all of you") == 10
    txpks = [gw.next_txpk() for gw in gws]
    assert [t.get("imme") for t in txpks] == [True, True]
    assert (txpks[0]["freq"], txpks[0]["datr"], txpks[0]["ipol"]) == (869.525, "SF9BW125", True)
    assert payload(txpks[0]) == payload(txpks[1])
    sent = [gw.log[0][0] for gw in gws]
    # A device between them hears one after the other. They are a second apart; the first may be told late here.
    assert abs(sent[0] - sent[1]) > 0.4
    down = g.member().downlink(payload(txpks[0]))
    assert (down.f_cnt, down.f_port, down.data, down.confirmed, down.ack, down.fopts) == (10, 5, b"all of you", False, False, b"")
    g.wait_empty()
    assert world.rest.get(g.path)["multicastGroup"]["fCnt"] == 11
    assert g.enqueue(b"and again") == 11
    d = g.member()
    d.next_down["n"] = 11
    assert d.downlink(payload(gws[0].next_txpk())).data == b"and again"
    for gw in gws:
        frames = [f for f in world.stack.frames(gateway_id=gw.id) if f.multicast_group_id == g.id]
        assert frames and all(f.dev_addr == f"{g.addr:08x}" and f.dev_eui == "" for f in frames)


def test_gps_time(world):
    """All at the same moment, by their GPS clocks."""
    gws = [world.gateway() for _ in range(3)]
    alive(world, *gws)
    g = Group(world, classCSchedulingType="GPS_TIME")
    g.add(*gws)
    before = gps_ms()
    g.enqueue(b"now")
    txpks = [gw.next_txpk() for gw in gws]
    assert len({t["tmms"] for t in txpks}) == 1 and not any(t.get("imme") for t in txpks)
    assert before + 900 <= txpks[0]["tmms"] <= gps_ms() + 1100
    assert g.member().downlink(payload(txpks[2])).data == b"now"
    g.wait_empty()


def slots(addr, nb, beacon_s):
    """Ping slots of a beacon period, milliseconds of GPS time; from the specification."""
    rand = lorawan.aes(bytes(16), beacon_s.to_bytes(4, "little") + addr.to_bytes(4, "little") + bytes(8))
    period = 4096 // nb
    offset = (rand[0] + rand[1] * 256) % period
    return [beacon_s * 1000 + 2120 + (offset + i * period) * 30 for i in range(nb)]


def test_class_b(world):
    """In ping slots of the group's address, the same one on all gateways, another one for the next item."""
    gws = [world.gateway() for _ in range(2)]
    alive(world, *gws)
    g = Group(world, groupType="CLASS_B", classBPingSlotPeriodicity=0, frequency=0)
    g.add(*gws)
    g.enqueue(b"one")
    g.enqueue(b"two")
    d, seen = g.member(), []
    for data in (b"one", b"two"):
        txpks = [gw.next_txpk() for gw in gws]
        assert payload(txpks[0]) == payload(txpks[1]) and txpks[0]["tmms"] == txpks[1]["tmms"]
        assert d.downlink(payload(txpks[0])).data == data
        at = txpks[0]["tmms"]
        assert at in slots(g.addr, 128, at // 1000 // 128 * 128)
        assert txpks[0]["freq"] == 869.525
        seen.append(at)
    assert seen[0] < seen[1]
    g.wait_empty()


def test_the_fewest_gateways_that_cover_the_devices(world):
    """Without gateways chosen by hand: one that hears both devices, though each is heard by another one as well."""
    a, b, c = gws = [world.gateway() for _ in range(3)]
    alive(world, *gws)
    g = Group(world)
    for heard_by in ((a, b), (b, c)):
        d = world.device(otaa=False)
        world.send(d, *heard_by, data=b"here I am")
        world.stack.events.wait(d.dev_eui, "up")
        g.rest.post(f"{g.path}/devices", {"devEui": d.dev_eui})
    g.enqueue(b"for both")
    deadline = time.monotonic() + lw.procs.PATIENCE_S
    found = None
    while found is None:
        assert time.monotonic() < deadline
        txpk = b.next_txpk()
        if payload(txpk)[1:5] == g.addr.to_bytes(4, "little"):
            found = txpk
    assert g.member().downlink(payload(found)).data == b"for both"
    g.wait_empty()
    assert not any(payload(t)[1:5] == g.addr.to_bytes(4, "little") for gw in (a, c) for _, t, _ in gw.log)


def test_who_moves_or_goes_leaves_its_group(world):
    """A device that is moved to another application, or deleted, is nobody for whom a gateway sends to the old group; it was the
    only one, so an item waits."""
    gw = world.gateway()
    alive(world, gw)
    to = lambda g: [t for _, t, _ in list(gw.log) if payload(t)[1:5] == g.addr.to_bytes(4, "little")]  # noqa: E731
    heard = []
    for _ in range(3):
        d = world.device(otaa=False)
        world.send(d, gw, data=b"here I am")
        world.stack.events.wait(d.dev_eui, "up")
        heard.append(d)
    groups = []
    for d in heard:
        g = Group(world)
        g.rest.post(f"{g.path}/devices", {"devEui": d.dev_eui})
        groups.append(g)
    moved, deleted, stays = heard
    app2 = world.rest.post("/api/applications", {"application": {"name": "B", "tenantId": world.tenant}})["id"]
    device = world.rest.get(f"/api/devices/{moved.dev_eui}")["device"]
    world.rest.put(f"/api/devices/{moved.dev_eui}", {"device": {**device, "applicationId": app2}})
    world.rest.delete(f"/api/devices/{deleted.dev_eui}")
    for g in groups:
        g.enqueue(b"for all")
    lw.wait_for(lambda: to(groups[2]), text="the item for the one that stays")
    groups[2].wait_empty()
    assert [len(g.queue()) for g in groups] == [1, 1, 0]
    assert to(groups[0]) == to(groups[1]) == []


def test_refused(world):
    """A refusal is no loss: the same frame goes again, and no other counter before it."""
    gw = world.gateway()
    alive(world, gw)
    g = Group(world)
    g.add(gw)
    gw.refuse = lambda txpk: "TX_FREQ" if len(gw.log) < 1 else None
    g.enqueue(b"first")
    g.enqueue(b"second")
    d = g.member()
    assert d.downlink(payload(gw.next_txpk())).data == b"first"
    assert d.downlink(payload(gw.next_txpk())).data == b"second"
    assert payload(gw.log[0][1]) == payload(gw.log[1][1])
    frame = world.stack.wait_frame("TX_FREQ", gateway_id=gw.id)
    assert frame.multicast_group_id == g.id and gw.id in frame.detail
    g.wait_empty()


def test_nobody_is_there(world):
    """A gateway that was never heard: the item waits, is listed, and can be flushed; its counter stays used."""
    gw = world.gateway()
    g = Group(world)
    g.add(gw)
    assert g.enqueue(b"hello") == 10
    assert [(i["fCnt"], i["fPort"], base64.b64decode(i["data"])) for i in g.queue()] == [(10, 5, b"hello")]
    g.rest.delete(f"{g.path}/queue")
    assert g.queue() == [] and gw.offers() == []
    assert g.enqueue(b"hello") == 11


@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.only_store("postgres"))])
def test_killed(tmp_path, replicas):
    """kill -9 of the network-server with a queue: every item goes, in order, no counter with two contents. With two of them the
    other one goes on."""
    stack = Stack(tmp_path, replicas=replicas, **OWN_STACK)
    world = World(stack)
    try:
        gw = world.gateway()
        alive(world, gw)
        g = Group(world)
        g.add(gw)
        with ThreadPoolExecutor(4) as pool:
            counters = list(pool.map(lambda i: g.enqueue(b"item %d" % i, stack.rests[i % replicas]), range(6)))
        assert sorted(counters) == list(range(10, 16))
        gw.next_txpk()
        gw.next_txpk()
        if replicas == 1:
            stack.restart(stack.ns)
        else:
            stack.nss[0].kill()
        reported = [0.0]

        def heard():
            by_counter, order = {}, []
            if time.monotonic() > reported[0] + 10:
                report(gw)
                reported[0] = time.monotonic()
            for _, txpk, _ in list(gw.log):
                d = g.member()
                d.next_down["n"] = 0
                down = d.downlink(payload(txpk))
                assert by_counter.setdefault(down.f_cnt, down.data) == down.data
                order.append(down.f_cnt)
            assert order == sorted(order)
            return by_counter if len(by_counter) == 6 else None

        got = lw.wait_for(heard, 120, step=0.2, text="all six items")
        assert [got[c] for c in counters] == [b"item %d" % i for i in range(6)]
    finally:
        world.close()
        stack.close()
