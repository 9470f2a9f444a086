"""Gateways with several boards and antennas; fine timestamps that are encrypted; gateways that are private to their tenant."""

from lw.gateway import payload
from lw.stack import World

ETIME = "42QMzOlYSSPMMeqVPrY0fQ=="


def test_boards_and_antennas(world):
    gw = world.gateway()
    d = world.device("1.0.3", rx1Delay=5)  # which a busy machine still meets
    world.join(d, gw)
    phy = d.uplink(b"heard twice", confirmed=True)
    rx = gw.uplink(phy, d.hz, d.datr, brd=1, aesk=2, rsig=[
        {"ant": 0, "chan": 1, "rssic": -110, "lsnr": -4.0, "etime": ETIME}, {"ant": 1, "chan": 9, "rssic": -90, "lsnr": 8.5}])
    up = world.stack.events.wait(d.dev_eui, "up")
    heard = {r.get("antenna", 0): r for r in up["rxInfo"]}
    assert sorted(heard) == [0, 1] and all(r["board"] == 1 for r in heard.values())
    assert (heard[0]["rssi"], heard[0]["snr"], heard[1]["rssi"], heard[1]["snr"]) == (-110, -4, -90, 8.5)
    assert heard[0]["metadata"]["encrypted_fine_timestamp"] == ETIME and heard[0]["metadata"]["aes_key_index"] == "2"
    assert "encrypted_fine_timestamp" not in heard[1].get("metadata", {})
    txpk = gw.next_txpk()
    assert (txpk["brd"], txpk["ant"], txpk["tmst"]) == (1, 1, (rx["tmst"] + 5_000_000) % 2**32)
    assert d.downlink(payload(txpk)).ack


def set_private(world, up, down):
    """A tenant's word about its gateways."""
    tenant = world.rest.get(f"/api/tenants/{world.tenant}")["tenant"]
    tenant.update(privateGatewaysUp=up, privateGatewaysDown=down)
    world.rest.put(f"/api/tenants/{world.tenant}", {"tenant": tenant})


def test_private_up(world):
    """Other tenants' devices are not heard by a private gateway, its own are."""
    other = World(world.stack)
    gw = world.gateway()
    set_private(world, True, False)
    own, foreign = world.device("1.0.3", otaa=False), other.device("1.0.3", otaa=False)
    other.send(foreign, gw, data=b"not for us")
    world.stack.wait_frame("PRIVATE_GATEWAY", gateway_id=gw.id)
    world.send(own, gw, data=b"ours")
    world.stack.events.wait(own.dev_eui, "up")
    assert not world.stack.events.of(foreign.dev_eui, "up")
    set_private(world, False, False)
    other.send(foreign, gw, data=b"open again")
    world.stack.events.wait(foreign.dev_eui, "up")
    other.close()


def test_private_down(world):
    """They are heard, but answered through other gateways only."""
    other = World(world.stack)
    gw, open_gw = world.gateway(), other.gateway()
    set_private(world, False, True)
    own, foreign = world.device("1.0.3", otaa=False), other.device("1.0.3", otaa=False)
    other.send(foreign, gw, data=b"?", confirmed=True)
    world.stack.events.wait(foreign.dev_eui, "up")
    world.stack.wait_frame("NO_GATEWAY", dev_eui=foreign.dev_eui)
    phy = foreign.uplink(b"??", confirmed=True)
    gw.uplink(phy, foreign.hz, foreign.datr, snr=9, rssi=-40, wait=False)
    open_gw.uplink(phy, foreign.hz, foreign.datr, snr=-8, rssi=-120, wait=False)
    assert foreign.downlink(payload(open_gw.next_txpk())).ack
    world.send(own, gw, data=b"!", confirmed=True)
    assert own.downlink(payload(gw.next_txpk())).ack
    assert not [o for o in gw.offers()]
    other.close()
