"""Queues that are full: what does not fit is refused to whoever asks, and nothing that waits is lost."""

import base64
import json

import grpc
import pytest

import lw
from lw.gateway import payload
from lw.stack import Stack, World

LIMIT = 3
GROUP_LIMIT = 2


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("queues"), **{"network-server": {"network": {
        "device_queue_items": LIMIT, "multicast_queue_items": GROUP_LIMIT}}})
    world = World(stack)
    yield world
    world.close()
    stack.close()


def fill(world, d):
    for i in range(LIMIT):
        world.enqueue(d, bytes([i]))


def waiting(world, d):
    return [base64.b64decode(i["data"]) for i in world.queue(d)]


def test_the_api_refuses(short):
    d = short.device(otaa=False)
    fill(short, d)
    item = {"devEui": d.dev_eui, "fPort": 10, "data": "AQ=="}
    status, answer = short.rest.request("POST", f"/api/devices/{d.dev_eui}/queue", {"queueItem": item})
    assert (status, answer["code"]) == (429, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]), answer
    assert "the device's queue is full: it holds 3 items (network.device_queue_items)" in answer["message"]
    queue = short.rest.get(f"/api/devices/{d.dev_eui}/queue")
    assert queue["totalCount"] == LIMIT and waiting(short, d) == [b"\0", b"\1", b"\2"]
    count = short.rest.get(f"/api/devices/{d.dev_eui}/queue?countOnly=true")
    assert count["totalCount"] == LIMIT and not count["result"]
    # Room again once one was sent, and when the others go first.
    gw = short.gateway()
    for _ in range(8):  # the first ones may carry MAC commands only
        short.send(d, gw, data=b"x")
        if d.downlink(payload(gw.next_txpk())).f_port == 10:
            break
    lw.wait_for(lambda: waiting(short, d) == [b"\1", b"\2"], text="the item that was sent to go")
    short.enqueue(d, b"again")
    short.rest.post(f"/api/devices/{d.dev_eui}/queue", {"queueItem": item, "flushQueue": True})
    assert waiting(short, d) == [b"\1"]


def test_over_mqtt_the_application_gets_a_log_event(short):
    d = short.device(otaa=False)
    fill(short, d)
    mqtt = lw.Mqtt(short.stack.mosquitto.port)
    mqtt.publish(f"application/{short.app}/device/{d.dev_eui}/command/down",
                 json.dumps({"id": "4b5c5a6e-0000-4000-8000-00000000f111", "devEui": d.dev_eui, "fPort": 10, "data": "AQ=="}))
    mqtt.close()
    log = short.stack.events.wait(d.dev_eui, "log", 1)
    assert (log["level"], log["deviceInfo"]["devEui"]) == ("ERROR", d.dev_eui)
    assert "queue is full: it holds 3 items" in log["description"]
    assert log["context"] == {"queue_item_id": "4b5c5a6e-0000-4000-8000-00000000f111"}
    assert waiting(short, d) == [b"\0", b"\1", b"\2"]


def test_multicast(short):
    def group(name):
        return short.rest.post("/api/multicast-groups", {"multicastGroup": {
            "name": name, "applicationId": short.app, "region": "EU868", "mcAddr": "11000077", "mcNwkSKey": "01" * 16,
            "mcAppSKey": "02" * 16, "groupType": "CLASS_C", "dr": 3, "frequency": 869525000, "fCnt": 0}})["id"]

    def enqueue(path):
        return short.rest.request("POST", path, {"queueItem": {"fPort": 5, "data": "AQ=="}})

    # Its gateway is never heard: nothing is sent.
    short.rest.post("/api/gateways", {"gateway": {"gatewayId": "00160000ffff0001", "name": "silent", "tenantId": short.tenant,
                                                  "statsInterval": 30}})
    paths = [f"/api/multicast-groups/{group(name)}" for name in ("full", "other")]
    for path in paths:
        short.rest.post(f"{path}/gateways", {"gatewayId": "00160000ffff0001"})
    full, other = (f"{path}/queue" for path in paths)
    answers = [enqueue(full) for _ in range(GROUP_LIMIT + 1)]
    status, answer = answers[-1]
    assert [a[0] for a in answers] == [200] * GROUP_LIMIT + [429]
    assert "the group's queue is full: it holds 2 items (network.multicast_queue_items)" in answer["message"], answers
    queue = short.rest.get(full)
    assert queue["totalCount"] == len(queue["items"]) == GROUP_LIMIT
    # Each group has room of its own, and what was refused took no counter.
    assert [enqueue(other)[0] for _ in range(GROUP_LIMIT + 1)] == [200] * GROUP_LIMIT + [429]
    short.rest.delete(full)
    assert enqueue(full) == (200, {"fCnt": GROUP_LIMIT})
