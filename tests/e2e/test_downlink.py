"""Downlinks from REST, gRPC and MQTT to the device; what the application hears of them."""

import base64
import json
import uuid

import pytest

import lw
from lw.gateway import payload


RX1_S = 5  # a busy machine still meets it; with 1 s the answer may have to take RX2


def joined(world, gw, version="1.0.3"):
    d = world.device(version, rx1Delay=RX1_S)
    world.join(d, gw)
    if d.is_11:  # RekeyInd and its answer are done
        world.send(d, gw, data=b"first")
        d.downlink(payload(gw.next_txpk()))
        world.stack.events.wait(d.dev_eui, "up")
    return d


def by_rest(world, d, data, f_port, confirmed):
    return world.enqueue(d, data, f_port, confirmed)


def by_grpc(world, d, data, f_port, confirmed):
    item = {"dev_eui": d.dev_eui, "f_port": f_port, "confirmed": confirmed, "data": data}
    return world.stack.api.call("api.DeviceService/Enqueue", queue_item=item).id


def by_mqtt(world, d, data, f_port, confirmed):
    given = str(uuid.uuid4())
    mqtt = lw.Mqtt(world.stack.mosquitto.port)
    mqtt.publish(f"application/{world.app}/device/{d.dev_eui}/command/down", json.dumps({
        "id": given, "devEui": d.dev_eui, "fPort": f_port, "confirmed": confirmed, "data": base64.b64encode(data).decode()}))
    mqtt.close()
    lw.wait_for(lambda: any(i["id"] == given for i in world.queue(d)), text="the command in the queue")
    return given


WAYS = pytest.mark.parametrize("enqueue", [by_rest, by_grpc, by_mqtt])


@WAYS
@pytest.mark.parametrize("version", ["1.0.3", "1.1.0"])
def test_downlink_in_rx1(world, enqueue, version):
    gw = world.gateway()
    d = joined(world, gw, version)
    item = enqueue(world, d, b"turn left", 11, False)
    d.tx_channel, d.dr = 2, 3
    _, rx = world.send(d, gw, data=b"?")
    txpk = gw.next_txpk()
    assert txpk["tmst"] == (rx["tmst"] + RX1_S * 1_000_000) % 2**32
    assert (txpk["freq"], txpk["datr"], txpk["modu"], txpk["codr"], txpk["ipol"]) == (868.5, "SF9BW125", "LORA", "4/5", True)
    assert not txpk.get("imme") and txpk["powe"] == 16 and txpk["size"] == len(payload(txpk))
    down = d.downlink(payload(txpk))
    assert (down.f_port, down.data, down.confirmed, down.f_cnt, down.fpending) == (11, b"turn left", False, 0, False)
    sent = world.stack.events.wait(d.dev_eui, "txack")
    assert (sent["queueItemId"], sent["fCntDown"], sent["gatewayId"]) == (item, 0, gw.id)
    assert sent["txInfo"]["frequency"] == 868500000 and sent["txInfo"]["timing"] == {"delay": {"delay": f"{RX1_S}s"}}
    assert world.queue(d) == []


def test_queue_in_order_with_fpending(world):
    gw = world.gateway()
    d = joined(world, gw)
    for n in range(3):
        world.enqueue(d, b"item %d" % n)
    for n in range(3):
        world.send(d, gw, data=b"?")
        down = d.downlink(payload(gw.next_txpk()))
        assert (down.data, down.f_cnt, down.fpending) == (b"item %d" % n, n, n < 2)


def test_refused_rx1_goes_to_rx2(world):
    """The gateway says no to RX1: RX2, with its own frequency and rate, no new counter."""
    gw = world.gateway()
    d = joined(world, gw)
    world.enqueue(d, b"either way")
    gw.refuse = lambda txpk: "COLLISION_PACKET" if txpk["freq"] != 869.525 else None
    _, rx = world.send(d, gw, data=b"?")
    first, error = gw.next_offer()
    assert error == "COLLISION_PACKET" and first["tmst"] == (rx["tmst"] + RX1_S * 1_000_000) % 2**32
    second, error = gw.next_offer()
    assert error is None
    assert second["tmst"] == (rx["tmst"] + (RX1_S + 1) * 1_000_000) % 2**32 and (second["freq"], second["datr"]) == (869.525, "SF12BW125")
    assert d.downlink(payload(second)).data == b"either way"
    sent = world.stack.events.wait(d.dev_eui, "txack")
    assert sent["txInfo"]["frequency"] == 869525000 and sent["fCntDown"] == 0


def test_refused_altogether(world):
    """Every window refused: a log event, the item stays, its counter is given back and used with the next uplink."""
    gw = world.gateway()
    d = joined(world, gw)
    item = world.enqueue(d, b"patience")
    gw.refuse = lambda txpk: "TOO_LATE"
    world.send(d, gw, data=b"?")
    assert [gw.next_offer()[1] for _ in range(2)] == ["TOO_LATE"] * 2
    log = world.stack.events.wait(d.dev_eui, "log")
    assert (log["level"], log["code"], log["description"], log["context"]) == ("ERROR", "DOWNLINK_GATEWAY", "TOO_LATE", {})
    assert [i["id"] for i in world.queue(d)] == [item]
    world.stack.wait_frame("TOO_LATE", dev_eui=d.dev_eui)
    gw.refuse = lambda txpk: None
    world.send(d, gw, data=b"?")
    down = d.downlink(payload(gw.next_txpk()))
    assert (down.data, down.f_cnt) == (b"patience", 0)


def test_refused_by_one_gateway_sent_by_the_other(world):
    good, bad = world.gateway(), world.gateway()
    d = joined(world, good)
    world.enqueue(d, b"detour")
    bad.refuse = lambda txpk: "TOO_LATE"
    phy = d.uplink(b"?")
    bad.uplink(phy, d.hz, d.datr, snr=12, rssi=-30, wait=False)
    good.uplink(phy, d.hz, d.datr, snr=-9, rssi=-120, wait=False)
    assert d.downlink(payload(good.next_txpk())).data == b"detour"
    assert bad.offers() and world.stack.events.wait(d.dev_eui, "txack")["gatewayId"] == good.id


@pytest.mark.parametrize("version", ["1.0.3", "1.1.0"])
def test_confirmed_downlink(world, version):
    """Acknowledged: ack event true. Not acknowledged by the next uplink: false, once its time is over."""
    gw = world.gateway()
    d = joined(world, gw, version)
    item = world.enqueue(d, b"confirm this", confirmed=True)
    world.send(d, gw, data=b"?")
    down = d.downlink(payload(gw.next_txpk()))
    assert down.confirmed and down.data == b"confirm this"
    world.stack.events.wait(d.dev_eui, "txack")
    pending = world.queue(d)
    assert [(i["id"], i["isPending"]) for i in pending] == [(item, True)]
    world.send(d, gw, data=b"yes")
    ack = world.stack.events.wait(d.dev_eui, "ack")
    assert (ack["queueItemId"], ack["acknowledged"], ack["fCntDown"]) == (item, True, down.f_cnt)
    assert ack["deduplicationId"] == world.stack.events.wait(d.dev_eui, "up", 3 if d.is_11 else 2)["deduplicationId"]
    assert world.queue(d) == []

    item = world.enqueue(d, b"and this", confirmed=True)
    world.send(d, gw, data=b"?")
    lost = gw.next_txpk()
    while not payload(lost)[0] >> 5 == 5:  # a 1.1 device may get its RekeyConf first
        lost = gw.next_txpk()
    world.stack.events.wait(d.dev_eui, "txack", 2)
    world.send(d, gw, data=b"I heard nothing")
    nack = world.stack.events.wait(d.dev_eui, "ack", 2)
    assert (nack["queueItemId"], nack["acknowledged"]) == (item, False)
    assert world.queue(d) == []


def test_confirmed_both_ways(world):
    """One frame each way carries data and acknowledges."""
    gw = world.gateway()
    for version in ("1.0.3", "1.1.0"):
        d = joined(world, gw, version)
        item = world.enqueue(d, b"ping", confirmed=True)
        world.send(d, gw, data=b"a", confirmed=True)
        down = d.downlink(payload(gw.next_txpk()))
        assert down.confirmed and down.ack and down.data == b"ping"
        world.stack.events.wait(d.dev_eui, "txack")
        world.send(d, gw, data=b"b", confirmed=True)
        assert world.stack.events.wait(d.dev_eui, "ack")["queueItemId"] == item
        down = d.downlink(payload(gw.next_txpk()))
        assert down.ack and down.f_port == -1


def test_too_large_is_reported(world):
    gw = world.gateway()
    d = joined(world, gw)
    world.enqueue(d, bytes(100))
    world.enqueue(d, b"small")
    d.dr = 0  # RX1 at SF12 carries 51 octets
    world.send(d, gw, data=b"?")
    assert d.downlink(payload(gw.next_txpk())).data == b"small"
    log = world.stack.events.wait(d.dev_eui, "log")
    assert (log["level"], log["code"]) == ("ERROR", "DOWNLINK_PAYLOAD_SIZE")


def test_expired_item(world):
    gw = world.gateway()
    d = joined(world, gw)
    item = world.enqueue(d, b"yesterday", expiresAt="2024-01-01T00:00:00Z")
    world.send(d, gw, data=b"?")
    log = world.stack.events.wait(d.dev_eui, "log")
    assert (log["level"], log["code"], log["context"]["queue_item_id"]) == ("ERROR", "EXPIRED", item)
    assert world.queue(d) == []


def test_item_enqueued_before_the_join(world):
    """Encrypted for a session that is not there yet: asked for again, and sent."""
    gw = world.gateway()
    d = world.device()
    world.enqueue(d, b"welcome")
    world.join(d, gw)
    got = []
    for _ in range(3):
        world.send(d, gw, data=b"?")
        world.stack.events.wait(d.dev_eui, "up", d.f_cnt_up)
        try:
            got.append(d.downlink(payload(gw.next_txpk(1.5))).data)
            break
        except AssertionError as e:
            if "no PULL_RESP" not in str(e):
                raise
    assert got == [b"welcome"]


@pytest.mark.parametrize("command", [
    b"", b"{", b"[]", b"null", b'{"devEui":7}', b'{"fPort":10,"data":"AQ=="}', b'{"devEui":"EUI","fPort":0,"data":"AQ=="}',
    b'{"devEui":"EUI","fPort":256,"data":"AQ=="}', b'{"devEui":"EUI","fPort":10,"data":"!"}',
    b'{"devEui":"0000000000000001","fPort":10,"data":"AQ=="}'])
def test_commands_that_are_wrong(world, command):
    d = world.device(otaa=False)
    mqtt = lw.Mqtt(world.stack.mosquitto.port)
    topic = f"application/{world.app}/device/{d.dev_eui}/command/down"
    mqtt.publish(topic, command.replace(b"EUI", d.dev_eui.encode()))
    # Another application's topic, and a command that nobody knows.
    good = json.dumps({"devEui": d.dev_eui, "fPort": 10, "data": "AQ=="})
    mqtt.publish(f"application/{uuid.uuid4()}/device/{d.dev_eui}/command/down", good)
    mqtt.publish(f"application/{world.app}/device/{d.dev_eui}/command/up", good)
    mqtt.publish(topic, good)
    mqtt.close()
    lw.wait_for(lambda: world.queue(d), text="the good command in the queue")
    assert [i["data"] for i in world.queue(d)] == ["AQ=="]
