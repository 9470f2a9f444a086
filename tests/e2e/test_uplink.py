"""Joins and uplinks, from the gateway's datagram to the application's topic."""

import base64

import pytest

from lw import wait_for
from lw.gateway import gps_ms, payload


@pytest.mark.parametrize("version", ["1.0.3", "1.1.0"])
@pytest.mark.parametrize("otaa", [True, False], ids=["otaa", "abp"])
def test_uplink_reaches_the_application(world, version, otaa):
    gw = world.gateway()
    d = world.device(version, otaa=otaa)
    if otaa:
        world.join(d, gw)
    for i in range(3):
        world.send(d, gw, data=b"reading %d" % i, f_port=7, confirmed=i == 2)
        up = world.stack.events.wait(d.dev_eui, "up", i + 1)
        assert base64.b64decode(up["data"]) == b"reading %d" % i
        assert (up["fPort"], up["fCnt"], up["devAddr"], up["confirmed"]) == (7, i, f"{d.dev_addr:08x}", i == 2)
        if d.rekey:
            d.downlink(payload(gw.next_txpk()))
    assert not d.rekey


@pytest.mark.parametrize("version", ["1.0.3", "1.1.0"])
def test_join(world, version):
    """Join-accept in the join's RX1, with the plan's channels; the event; the session that the API shows."""
    gw = world.gateway()
    d = world.device(version)
    phy = d.join_request()
    rx = gw.uplink(phy, d.hz, d.datr)
    txpk = gw.next_txpk()
    assert txpk["tmst"] == (rx["tmst"] + 5_000_000) % 2**32
    assert (txpk["freq"], txpk["datr"], txpk["codr"], txpk["ipol"]) == (868.1, d.datr, "4/5", True)
    d.accept(payload(txpk))
    assert d.net_id == "000000" and d.rx_delay == 1 and d.rx1_offset == 0 and d.rx2_dr == 0
    assert sorted(d.channels.values()) == [867100000, 867300000, 867500000, 867700000, 867900000, 868100000, 868300000, 868500000]
    join = world.stack.events.wait(d.dev_eui, "join")
    assert join["devAddr"] == f"{d.dev_addr:08x}" and join["deviceInfo"]["devEui"] == d.dev_eui
    got = world.rest.get(f"/api/devices/{d.dev_eui}/activation")["deviceActivation"]
    assert got["devAddr"] == f"{d.dev_addr:08x}"
    assert [bytes.fromhex(got[k]) for k in ("fNwkSIntKey", "sNwkSIntKey", "nwkSEncKey", "appSKey")] == [
        d.f_nwk_s_int, d.s_nwk_s_int, d.nwk_s_enc, d.app_s_key]
    # On a channel of the CFList, which only a device that joined knows.
    d.tx_channel = 5
    world.send(d, gw, data=b"x")
    assert world.stack.events.wait(d.dev_eui, "up")["txInfo"]["frequency"] == 867500000
    if version == "1.1.0":
        assert d.rekey
        d.downlink(payload(gw.next_txpk()))
        assert not d.rekey


def test_join_again(world):
    """A device that lost its session joins again: another address or the same, new keys, counters from 0."""
    gw = world.gateway()
    d = world.device()
    world.join(d, gw)
    world.send(d, gw, data=b"one")
    world.stack.events.wait(d.dev_eui, "up")
    key = d.app_s_key
    world.join(d, gw)
    assert d.app_s_key != key
    world.send(d, gw, data=b"two")
    up = world.stack.events.wait(d.dev_eui, "up", 2)
    assert base64.b64decode(up["data"]) == b"two" and up["fCnt"] == 0


@pytest.mark.parametrize("version", ["1.0.3", "1.1.0"])
def test_us915_sub_band_0(world, version):
    gw = world.gateway("us915_0")
    d = world.device(version, region="US915", rx1Delay=5)  # which a busy machine still meets
    d.tx_channel = 3
    rx_phy = d.join_request()
    rx = gw.uplink(rx_phy, d.hz, d.datr)
    txpk = gw.next_txpk()
    assert (txpk["freq"], txpk["datr"]) == (925.1, "SF7BW500") and txpk["tmst"] == (rx["tmst"] + 5_000_000) % 2**32
    d.accept(payload(txpk))
    assert sorted(d.channels) == list(range(8)), d.cflist.hex()
    d.tx_channel = 6
    world.enqueue(d, b"down", f_port=5)
    _, rx = world.send(d, gw, data=b"up")
    up = world.stack.events.wait(d.dev_eui, "up")
    assert up["txInfo"]["frequency"] == 903500000 and up["dr"] == 3 and up["regionConfigId"] == "us915_0"
    txpk = gw.next_txpk()
    hz, datr = d.plan.rx1(903500000, 3)
    assert (round(txpk["freq"] * 1e6), txpk["datr"]) == (hz, datr) and txpk["tmst"] == (rx["tmst"] + 5_000_000) % 2**32
    down = d.downlink(payload(txpk))
    assert down.data == b"down", down


def test_heard_by_three_gateways(world):
    gws = [world.gateway() for _ in range(3)]
    d = world.device(otaa=False)
    phy = d.uplink(b"once", f_port=3)
    for g, rssi, snr in zip(gws, (-100, -60, -80), (-3.5, 9.25, 4.0)):
        g.uplink(phy, d.hz, d.datr, rssi=rssi, snr=snr, wait=False)
    up = world.stack.events.wait(d.dev_eui, "up")
    assert {r["gatewayId"]: r["rssi"] for r in up["rxInfo"]} == dict(zip((g.id for g in gws), (-100, -60, -80)))
    assert {r["gatewayId"]: r["snr"] for r in up["rxInfo"]}[gws[1].id] == 9.25
    # A second uplink behind it: whatever the first brought is there by then.
    world.send(d, *gws, data=b"twice", f_port=3)
    world.stack.events.wait(d.dev_eui, "up", 2)
    assert [e.kind for e in world.stack.events.of(d.dev_eui)] == ["up", "up"]


def test_time_of_gateways_with_gps(world):
    gw = world.gateway()
    d = world.device(otaa=False)
    ns = gps_ms() * 1_000_000 + 123_456
    phy = d.uplink(b"t")
    gw.uplink(phy, d.hz, d.datr, gps_ns=ns, time="2024-05-01T12:00:00.251307Z")
    rx = world.stack.events.wait(d.dev_eui, "up")["rxInfo"][0]
    assert rx["fineTimeSinceGpsEpoch"] == f"{ns // 10**9}.{ns % 10**9:09d}s"
    assert rx["timeSinceGpsEpoch"] == f"{ns // 10**9}.{ns // 10**6 % 1000:03d}s"
    assert rx["gwTime"] == "2024-05-01T12:00:00.251307+00:00"


def test_mac_commands_of_the_device(world):
    """LinkCheckReq and DeviceTimeReq, in FOpts and on port 0; DeviceModeInd of 1.1."""
    gws = [world.gateway() for _ in range(2)]
    d = world.device(otaa=False)
    phy = d.uplink(b"x", fopts=bytes([0x02, 0x0D]))
    now = gps_ms() * 1_000_000
    gws[0].uplink(phy, d.hz, "SF12BW125", snr=-5, gps_ns=now, wait=False)
    gws[1].uplink(phy, d.hz, "SF12BW125", snr=-15, gps_ns=now, wait=False)
    down = d.downlink(payload(gws[0].next_txpk()))
    margin, gateways = down.commands[0x02]
    assert (margin, gateways) == (15, 2)  # SF12 is heard down to -20 dB
    seconds, fraction = int.from_bytes(down.commands[0x0D][:4], "little"), down.commands[0x0D][4]
    assert abs(seconds + fraction / 256 - now / 1e9) < 0.01
    phy = d.uplink(commands_on_port_0=bytes([0x02]))
    gws[0].uplink(phy, d.hz, d.datr)
    assert d.downlink(payload(gws[0].next_txpk())).commands[0x02][1] == 1
    up = world.stack.events.wait(d.dev_eui, "up", 2)
    assert up["fPort"] == 0 and up["data"] == ""

    d = world.device("1.1.0", supportsClassC=True)
    world.join(d, gws[0])
    world.send(d, gws[0], data=b"x", fopts=bytes([0x20, 0x02]))
    down = d.downlink(payload(gws[0].next_txpk()))
    assert down.commands[0x20] == b"\x02" and down.commands[0x0B] == b"\x01"
    wait_for(lambda: world.rest.get(f"/api/devices/{d.dev_eui}")["classEnabled"] == "CLASS_C", text="class C")


def test_confirmed_uplink_is_acknowledged_again_when_repeated(world):
    gw = world.gateway()
    for version in ("1.0.3", "1.1.0"):
        d = world.device(version)
        world.join(d, gw)
        phy, _ = world.send(d, gw, data=b"sure?", confirmed=True)
        first = d.downlink(payload(gw.next_txpk()))
        assert first.ack and first.f_port == -1
        gw.uplink(phy, d.hz, d.datr)  # the device did not hear it
        second = d.downlink(payload(gw.next_txpk()))
        assert second.ack and second.f_cnt == first.f_cnt + 1
        world.send(d, gw, data=b"next")
        world.stack.events.wait(d.dev_eui, "up", 2)
        assert len(world.stack.events.of(d.dev_eui, "up")) == 2
        log = world.stack.events.wait(d.dev_eui, "log")
        assert (log["level"], log["code"]) == ("WARNING", "UPLINK_F_CNT_RETRANSMISSION")


def test_counter_beyond_16_bits(world):
    gw = world.gateway()
    d = world.device(otaa=False)
    for n, f_cnt in enumerate((0x3000, 0x6FFF, 0xAFFF, 0xEFFF, 0xFFFF, 0x10000, 0x14000), 1):
        d.f_cnt_up = f_cnt
        world.send(d, gw, data=b"far")
        assert world.stack.events.wait(d.dev_eui, "up", n)["fCnt"] == f_cnt
