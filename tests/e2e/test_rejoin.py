"""Rejoin-requests of LoRaWAN 1.1 with the join server of our own: over the air, both databases, the application's view."""

import base64

import pytest

import lw
from lw.device import BadDownlink
from lw.gateway import payload
from lw.stack import Stack, World


def joined(world, gw):
    d = world.device("1.1.0")
    world.join(d, gw)
    settle(world, gw, d, b"first")
    return d


def settle(world, gw, d, data):
    """An uplink with RekeyInd, its answer, the application's event."""
    n = len(world.stack.events.of(d.dev_eui, "up"))
    world.send(d, gw, data=data)
    d.downlink(payload(gw.next_txpk()))
    assert not d.rekey
    return world.stack.events.wait(d.dev_eui, "up", n + 1)


def rejoin(gw, d, kind, count=None):
    """The txpk of the accept."""
    gw.uplink(d.rejoin_request(kind, count), d.hz, d.datr)
    txpk = gw.next_txpk()
    d.accept(payload(txpk), rejoin=True)
    return txpk


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_rejoin(world, kind):
    gw = world.gateway()
    d = joined(world, gw)
    addr, before = d.dev_addr, (d.f_nwk_s_int, d.app_s_key)
    joins = len(world.stack.events.of(d.dev_eui, "join"))
    d.dr = 3
    txpk = rejoin(gw, d, kind)
    assert txpk["freq"] == d.hz / 1e6 and txpk["datr"] == "SF9BW125"
    assert d.dev_addr == addr and (d.f_nwk_s_int, d.app_s_key) != before
    assert len(world.stack.events.of(d.dev_eui, "join")) == joins  # not before the device is in
    up = settle(world, gw, d, b"in the new session")
    assert (up["fCnt"], base64.b64decode(up["data"])) == (0, b"in the new session")
    assert world.stack.events.wait(d.dev_eui, "join", joins + 1)["devAddr"] == f"{addr:08x}"
    world.enqueue(d, b"down", 7)
    world.send(d, gw, data=b"?")
    down = d.downlink(payload(gw.next_txpk()))
    assert (down.data, down.f_cnt) == (b"down", 0)


def test_not_heard(world):
    """An accept that the device did not hear costs nothing: the old session goes on, the next request is answered."""
    gw = world.gateway()
    d = joined(world, gw)
    gw.uplink(d.rejoin_request(0), d.hz, d.datr)
    gw.next_txpk()
    n = len(world.stack.events.of(d.dev_eui, "up"))
    world.send(d, gw, data=b"as before")
    assert world.stack.events.wait(d.dev_eui, "up", n + 1)["fCnt"] == 1
    rejoin(gw, d, 0)
    assert settle(world, gw, d, b"now")["fCnt"] == 0


def test_counters(world):
    """RJcount0 and RJcount1 rise: a repeated request is refused, with its reason."""
    gw = world.gateway()
    d = joined(world, gw)
    rejoin(gw, d, 0, 5)
    settle(world, gw, d, b"a")
    rejoin(gw, d, 2)  # from 0 again in the new session
    settle(world, gw, d, b"b")
    rejoin(gw, d, 1, 7)
    settle(world, gw, d, b"c")
    for kind, count in ((1, 7), (1, 3)):
        gw.uplink(d.rejoin_request(kind, count), d.hz, d.datr)
        frame = world.stack.wait_frame("DEVNONCE_REUSED", lambda f: f"RJcount{kind} {count}" in f.detail, dev_eui=d.dev_eui)
        assert "RJcount1" in frame.detail
    assert not gw.offers()
    world.rest.delete(f"/api/devices/{d.dev_eui}/dev-nonces")
    rejoin(gw, d, 1, 3)
    settle(world, gw, d, b"d")


def test_wrong_mic(world):
    gw = world.gateway()
    d = joined(world, gw)
    for kind in (0, 1, 2):
        phy = bytearray(d.rejoin_request(kind))
        phy[-1] ^= 1
        gw.uplink(bytes(phy), d.hz, d.datr)
    lw.wait_for(lambda: len([f for f in world.stack.frames(dev_eui=d.dev_eui) if "MIC" in f.detail]) == 3, text="three refusals")
    assert not gw.offers()


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("rejoin"))
    yield stack
    stack.close()


def test_counters_outlive_the_servers(own):
    world = World(own)
    gw = world.gateway()
    d = joined(world, gw)
    gw.uplink(d.rejoin_request(0, 3), d.hz, d.datr)
    gw.next_txpk()
    gw.uplink(d.rejoin_request(1, 9), d.hz, d.datr)
    gw.next_txpk()
    for daemon in (own.ns, own.app):
        own.restart(daemon)
    own.login()
    gw.uplink(d.rejoin_request(0, 3), d.hz, d.datr)
    own.wait_frame("DEVNONCE_REUSED", lambda f: "RJcount0 3" in f.detail, dev_eui=d.dev_eui)
    gw.uplink(d.rejoin_request(1, 9), d.hz, d.datr)
    own.wait_frame("DEVNONCE_REUSED", lambda f: "RJcount1 9" in f.detail, dev_eui=d.dev_eui)
    rejoin(gw, d, 1, 10)
    settle(world, gw, d, b"after all")
    world.close()
