"""What people see live: frames with outcome and reason, events, over server-sent events."""

import base64

import pytest

from lw.gateway import payload
from lw.sse import Stream


@pytest.fixture
def streams(world):
    opened = []

    def open_stream(path, **more):
        s = Stream(world.rest, path, **more)
        opened.append(s)
        return s

    yield open_stream
    for s in opened:
        s.close()


def test_frames_of_a_device(world, streams):
    """Both directions; a dropped one says why."""
    gw = world.gateway()
    d = world.device()
    live = streams(f"/api/live/devices/{d.dev_eui}/frames")
    world.join(d, gw)
    old, _ = world.send(d, gw, data=b"a", confirmed=True)
    d.downlink(payload(gw.next_txpk()))
    world.send(d, gw, data=b"b")
    world.stack.events.wait(d.dev_eui, "up", 2)
    gw.uplink(old, d.hz, d.datr)
    join = live.wait(lambda m: m.data["fType"] == "JOIN_REQUEST").data
    assert (join["outcome"], join["uplink"]) == ("DELIVERED", True)
    up = live.wait(lambda m: m.data["fType"] == "CONFIRMED_DATA_UP" and m.data["outcome"] == "DELIVERED").data
    assert base64.b64decode(up["phyPayload"]) == old and [s["name"] for s in up["steps"]][-1] and up["rxInfo"][0]["gatewayId"] == gw.id
    down = live.wait(lambda m: m.data["fType"] == "UNCONFIRMED_DATA_DOWN").data
    assert not down["uplink"] and down["gatewayId"] == gw.id
    dropped = live.wait(lambda m: m.data["outcome"] == "DROPPED").data
    assert dropped["reason"] == "FCNT_REPLAY" and dropped["detail"] and base64.b64decode(dropped["phyPayload"]) == old
    # A page that is opened later sees the same.
    late = streams(f"/api/live/devices/{d.dev_eui}/frames")
    assert late.wait(lambda m: m.data["outcome"] == "DROPPED").data["reason"] == "FCNT_REPLAY"


def test_unknown_devices_on_the_gateways_page(world, streams):
    gw = world.gateway()
    live = streams(f"/api/live/gateways/{gw.id}/frames")
    stranger = world.device(register=False)
    gw.uplink(stranger.join_request(), stranger.hz, stranger.datr)
    got = live.wait(lambda m: m.data["outcome"] == "DROPPED").data
    assert got["reason"] == "UNKNOWN_DEVICE" and got["rxInfo"][0]["gatewayId"] == gw.id
    d = world.device(otaa=False)
    phy = d.uplink(b"x")
    gw.uplink(phy[:-1] + bytes([phy[-1] ^ 1]), d.hz, d.datr)
    assert live.wait(lambda m: m.data["reason"] == "MIC_MISMATCH").data["outcome"] == "DROPPED"


def test_events_go_on_after_the_last_one_known(world, streams):
    gw = world.gateway()
    d = world.device(otaa=False)
    path = f"/api/live/devices/{d.dev_eui}/events"
    live = streams(path)
    world.send(d, gw, data=b"one")
    first = live.wait(lambda m: m.name == "up")
    assert base64.b64decode(first.data["body"]["data"]) == b"one"
    live.close()
    world.send(d, gw, data=b"two")
    world.stack.events.wait(d.dev_eui, "up", 2)
    again = streams(path, last_id=first.id)
    assert base64.b64decode(again.wait(lambda m: m.name == "up").data["body"]["data"]) == b"two"


def test_only_for_those_who_may(world, streams):
    d = world.device(otaa=False)
    anonymous = type(world.rest)(world.rest.base)
    assert Stream(anonymous, f"/api/live/devices/{d.dev_eui}/frames").status == 401
    user = world.rest.post("/api/users", {"user": {"email": f"u{world.n}@example.org", "isActive": True}, "password": "12345678"})
    other = world.rest.login(f"u{world.n}@example.org", "12345678")
    assert user["id"] and Stream(other, f"/api/live/devices/{d.dev_eui}/frames").status == 403
    assert Stream(world.rest, "/api/live/devices/zz/frames").status in (400, 404)
