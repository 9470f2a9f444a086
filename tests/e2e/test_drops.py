"""What is dropped has a reason, and the API tells it."""

import pytest

from lw.stack import World


@pytest.fixture
def abp(world):
    return world.device(otaa=False)


def counted(stack, reason):
    """How many uplinks the network-server has dropped for this reason."""
    return sum(v for k, v in stack.ns.metrics().items() if reason in k)


def delivered(world, d, n):
    world.stack.events.wait(d.dev_eui, "up", n)
    assert len(world.stack.events.of(d.dev_eui, "up")) == n


def test_wrong_mic(world, abp):
    gw = world.gateway()
    before = counted(world.stack, "MIC_MISMATCH")
    phy = abp.uplink(b"x")
    bad = phy[:-1] + bytes([phy[-1] ^ 1])
    gw.uplink(bad, abp.hz, abp.datr)
    f = world.stack.wait_frame("MIC_MISMATCH", lambda f: f.phy_payload == bad, gateway_id=gw.id)
    assert f.uplink and f.dev_addr == f"{abp.dev_addr:08x}" and f.detail and f.rx_info[0].gateway_id == gw.id
    assert counted(world.stack, "MIC_MISMATCH") == before + 1
    gw.uplink(phy, abp.hz, abp.datr)
    delivered(world, abp, 1)


def test_replayed_counter(world, abp):
    gw = world.gateway()
    old, _ = world.send(abp, gw, data=b"0")
    world.stack.events.wait(abp.dev_eui, "up", 1)
    for i in range(2):
        world.send(abp, gw, data=b"1")
        world.stack.events.wait(abp.dev_eui, "up", 2 + i)
    gw.uplink(old, abp.hz, abp.datr)
    world.stack.wait_frame("FCNT_REPLAY", lambda f: f.phy_payload == old, dev_eui=abp.dev_eui)
    log = world.stack.events.wait(abp.dev_eui, "log")
    assert (log["level"], log["code"], log["context"]["f_cnt_up"]) == ("WARNING", "UPLINK_F_CNT_RESET", "0")
    delivered(world, abp, 3)


def test_same_uplink_again(world, abp):
    """After the window, by the same gateway: a duplicate on record, once on the topic."""
    gw = world.gateway()
    phy, _ = world.send(abp, gw, data=b"0")
    world.stack.events.wait(abp.dev_eui, "up", 1)
    gw.uplink(phy, abp.hz, abp.datr)
    world.stack.wait_frame("FCNT_RETRANSMISSION", dev_eui=abp.dev_eui)
    world.send(abp, gw, data=b"1")
    delivered(world, abp, 2)


@pytest.mark.parametrize("version", ["1.0.3", "1.1.0"])
def test_reused_dev_nonce(world, version):
    gw = world.gateway()
    d = world.device(version)
    world.join(d, gw)
    address = d.dev_addr
    phy = d.join_request(nonce=d.dev_nonce)
    gw.uplink(phy, d.hz, d.datr)
    world.stack.wait_frame("DEVNONCE_REUSED", lambda f: f.phy_payload == phy, dev_eui=d.dev_eui)
    log = world.stack.events.wait(d.dev_eui, "log")
    assert (log["level"], log["code"], log["context"]["dev_nonce"]) == ("ERROR", "OTAA", str(d.dev_nonce))
    assert not gw.offers()
    world.send(d, gw, data=b"still here")
    assert world.stack.events.wait(d.dev_eui, "up")["devAddr"] == f"{address:08x}"


def test_unknown_device(world, abp):
    gw = world.gateway()
    stranger = world.device(register=False)
    phy = stranger.join_request()
    gw.uplink(phy, stranger.hz, stranger.datr)
    f = world.stack.wait_frame("UNKNOWN_DEVICE", lambda f: f.phy_payload == phy, gateway_id=gw.id)
    assert f.uplink
    abp.dev_addr = 0x01FFFFFE
    phy = abp.uplink(b"x")
    gw.uplink(phy, abp.hz, abp.datr)
    f = world.stack.wait_frame("UNKNOWN_DEVICE", lambda f: f.phy_payload == phy, gateway_id=gw.id)
    assert f.dev_addr == "01fffffe"
    assert not gw.offers()


def test_wrong_key_in_the_join_request(world):
    gw = world.gateway()
    d = world.device()
    right, d.nwk_key = d.nwk_key, bytes(16)
    phy = d.join_request()
    gw.uplink(phy, d.hz, d.datr)
    world.stack.wait_frame("JOIN_MIC_MISMATCH", lambda f: f.phy_payload == phy, dev_eui=d.dev_eui)
    d.nwk_key = right
    world.join(d, gw)


def test_disabled_device(world, abp):
    gw = world.gateway()
    shown = world.rest.get(f"/api/devices/{abp.dev_eui}")["device"]
    world.rest.put(f"/api/devices/{abp.dev_eui}", {"device": {**shown, "isDisabled": True}})
    world.send(abp, gw, data=b"x")
    world.stack.wait_frame("DEVICE_DISABLED", dev_eui=abp.dev_eui)
    world.rest.put(f"/api/devices/{abp.dev_eui}", {"device": {**shown, "isDisabled": False}})
    world.send(abp, gw, data=b"x")
    delivered(world, abp, 1)


def test_unknown_gateway(world, abp):
    known, unknown = world.gateway(), world.gateway(register=False)
    before = counted(world.stack, "UNKNOWN_GATEWAY")
    world.send(abp, unknown, data=b"x")
    world.send(abp, known, data=b"y")
    delivered(world, abp, 1)
    assert counted(world.stack, "UNKNOWN_GATEWAY") == before + 1


def test_private_gateway_of_another_tenant(world, abp):
    other = World(world.stack)
    gw = other.gateway()
    shown = world.rest.get(f"/api/gateways/{gw.id}")["gateway"]
    tenant = world.rest.get(f"/api/tenants/{other.tenant}")["tenant"]
    world.rest.put(f"/api/tenants/{other.tenant}", {"tenant": {**tenant, "privateGatewaysUp": True}})
    world.rest.put(f"/api/gateways/{gw.id}", {"gateway": shown})
    world.send(abp, gw, data=b"x")
    world.stack.wait_frame("PRIVATE_GATEWAY", dev_eui=abp.dev_eui)
    mine = other.device(otaa=False)
    other.send(mine, gw, data=b"x")
    delivered(other, mine, 1)
    other.close()


def test_not_lorawan(world):
    gw = world.gateway()
    before = counted(world.stack, "MALFORMED")
    for phy in (b"\x40", b"\x40\1\2\3\4\0\0\0\0\0\0", b"\xff" * 20, b""):
        gw.uplink(phy, 868100000, "SF7BW125", wait=False)
    world.stack.wait_frame("MALFORMED", gateway_id=gw.id)
    assert counted(world.stack, "MALFORMED") > before


@pytest.mark.parametrize("version", ["1.0.3", "1.0.4", "1.1.0"])
def test_dev_nonce_begins_anew(world, version):
    """After a factory reset. A counter from 1.0.4 on, so refused until the nonces are forgotten; before it is a random number."""
    gw = world.gateway()
    d = world.device(version)
    d.dev_nonce = 1000
    world.join(d, gw)
    d.dev_nonce = 7
    if version != "1.0.3":
        gw.uplink(d.join_request(nonce=8), d.hz, d.datr)
        log = world.stack.events.wait(d.dev_eui, "log")
        assert (log["code"], log["context"]["dev_nonce"]) == ("OTAA", "8")
        frame = world.stack.wait_frame("DEVNONCE_REUSED", dev_eui=d.dev_eui)
        assert "does not rise" in frame.detail and "flushing the device's nonces" in frame.detail
        world.rest.delete(f"/api/devices/{d.dev_eui}/dev-nonces")
    world.join(d, gw)
