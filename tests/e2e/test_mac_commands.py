"""MAC commands from outside: from the API to the device, and what the device says to them."""

import base64

import pytest

from lw import device
from lw.gateway import payload
from lw.procs import wait_for


def path(d):
    return f"/api/longwave/devices/{d.dev_eui}/mac-commands"


def b64(hexadecimal):
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def test_sent_as_they_are_and_the_answer_is_an_event(world, monkeypatch):
    monkeypatch.setitem(device.DOWN_SIZE, 0x80, 3)
    gw, d = world.gateway(), world.device()
    world.join(d, gw)
    world.send(d, gw, data=b"x", fopts=b"\x04")  # an answer that nobody asked for is no event
    world.stack.events.wait(d.dev_eui, "up")
    world.rest.post(path(d), {"commands": b64("0401")})      # DutyCycleReq
    world.rest.post(path(d), {"commands": b64("80c0ffee")})  # nobody knows what
    world.send(d, gw, data=b"x")
    phy = payload(gw.next_txpk())
    down = d.downlink(phy)
    assert down.fopts == bytes.fromhex("040180c0ffee")
    world.send(d, gw, data=b"x", fopts=bytes.fromhex("80beef"))
    log = world.stack.events.wait(d.dev_eui, "log")
    assert (log["level"], log["description"]) == ("INFO", "MAC commands of the device")
    assert log["context"]["mac_commands"] == "0480beef"


@pytest.mark.parametrize("commands, status, words", [
    ("", 400, "missing"), ("0e05", 400, "cut off"), ("7f", 400, "no MAC command"), ("06" * 49, 429, "more MAC")])
def test_wrong(world, commands, status, words):
    gw, d = world.gateway(), world.device()
    world.join(d, gw)
    got, answer = world.rest.request("POST", path(d), {"commands": b64(commands)})
    assert got == status and words in answer["message"], answer
    assert world.rest.get(path(d))["bytes"] == 0


def test_no_more_than_may_wait(world):
    gw, d = world.gateway(), world.device()
    world.join(d, gw)
    world.rest.post(path(d), {"commands": b64("06" * 47)})
    assert world.rest.request("POST", path(d), {"commands": b64("0405")})[0] == 429
    world.rest.post(path(d), {"commands": b64("06")})
    listed = world.rest.get(path(d))
    assert listed["bytes"] == listed["maxBytes"] == 48


def test_not_without_a_session(world):
    status, answer = world.rest.request("POST", path(world.device()), {"commands": b64("06")})
    assert status == 400 and "not activated" in answer["message"], answer


def test_what_waits_is_listed_and_can_be_taken_back(world, monkeypatch):
    monkeypatch.setitem(device.DOWN_SIZE, 0x80, 3)
    gw, d = world.gateway(), world.device()
    assert world.rest.get(path(d)) == {"commands": [], "bytes": 0, "maxBytes": 48, "isActivated": False}
    world.rest.delete(path(d))  # none, and no session: nothing to forget
    world.join(d, gw)
    world.rest.post(path(d), {"commands": b64("0405" + "0e0120")})
    world.rest.post(path(d), {"commands": b64("80c0ffee06")})
    listed = world.rest.get(path(d))
    assert [(c["cid"], c["name"], c["text"]) for c in listed["commands"]] == [
        (4, "DutyCycleReq", "max_duty_cycle=1/32"), (14, "ForceRejoinReq", "period=4 max_retries=0 rejoin_type=0 dr=1"),
        (0x80, "", "c0ffee06")]
    assert listed["bytes"] == 10 and listed["isActivated"]
    world.rest.delete(path(d))
    assert world.rest.get(path(d))["commands"] == []
    world.rest.post(path(d), {"commands": b64("80c0ffee")})
    world.send(d, gw, data=b"x")
    assert d.downlink(payload(gw.next_txpk())).fopts == bytes.fromhex("80c0ffee")  # and nothing of what was taken back
    wait_for(lambda: world.rest.get(path(d))["bytes"] == 0, text="nothing more to wait")


def test_refused_by_the_gateway_they_wait_again(world, monkeypatch):
    monkeypatch.setitem(device.DOWN_SIZE, 0x80, 3)
    gw, d = world.gateway(), world.device()
    world.join(d, gw)
    world.rest.post(path(d), {"commands": b64("80c0ffee")})
    gw.refuse = lambda txpk: "TX_FREQ"
    world.send(d, gw, data=b"x")
    world.stack.wait_frame("TX_FREQ", dev_eui=d.dev_eui)
    wait_for(lambda: world.rest.get(path(d))["bytes"] == 4, text="them to wait again")
    gw.refuse = lambda txpk: None
    world.send(d, gw, data=b"x")
    assert d.downlink(payload(gw.next_txpk())).fopts == bytes.fromhex("80c0ffee")


def test_proprietary_commands_stand_in_the_frames(world, monkeypatch):
    monkeypatch.setitem(device.DOWN_SIZE, 0x80, 3)
    gw, d = world.gateway(), world.device()
    world.join(d, gw)
    world.rest.post(path(d), {"commands": b64("0680c0ffee")})
    world.send(d, gw, data=b"x")
    d.downlink(payload(gw.next_txpk()))
    world.send(d, gw, data=b"x", fopts=bytes.fromhex("80beef"))

    def commands(uplink):
        return [[(c.cid, c.name, c.text) for c in f.mac_commands]
                for f in world.stack.frames(dev_eui=d.dev_eui) if f.uplink == uplink and f.mac_commands]

    # The device answers DevStatusReq in the same frame.
    said = wait_for(lambda: commands(uplink=True), text="the device's commands in its frame")
    assert [c[:2] for c in said[0]] == [(6, "DevStatusAns"), (0x80, "")] and said[0][1][2] == "beef"
    wait_for(lambda: [(6, "DevStatusReq", ""), (0x80, "", "c0ffee")] in commands(uplink=False), text="ours in the frame that had them")


def test_readers_see_what_waits_and_change_nothing(world):
    gw, d = world.gateway(), world.device()
    world.join(d, gw)
    world.rest.post(path(d), {"commands": b64("06")})
    email = f"reader-{d.dev_eui}@example.com"
    user = world.rest.post("/api/users", {"user": {"email": email, "isActive": True}, "password": "reader-secret",
                                          "tenants": [{"tenantId": world.tenant}]})["id"]
    reader = world.rest.login(email, "reader-secret")
    assert reader.get(path(d))["commands"][0]["name"] == "DevStatusReq"
    assert reader.request("POST", path(d), {"commands": b64("06")})[0] == 403
    assert reader.request("DELETE", path(d))[0] == 403
    assert world.rest.get(path(d))["bytes"] == 1
    assert type(world.rest)(world.rest.base).request("GET", path(d))[0] == 401
    world.rest.delete(f"/api/users/{user}")
