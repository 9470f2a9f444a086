"""MAC commands from outside: from the API to the device, and what the device says to them."""

import base64

import pytest

from lw import device
from lw.gateway import payload


def path(d):
    return f"/api/longwave/devices/{d.dev_eui}/mac-commands"


def b64(hexadecimal):
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def test_sent_as_they_are_and_the_answer_is_an_event(world, monkeypatch):
    monkeypatch.setitem(device.DOWN_SIZE, 0x80, 3)
    gw, d = world.gateway(), world.device()
    world.join(d, gw)
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


@pytest.mark.parametrize("commands, words", [("", "missing"), ("0e05", "cut off"), ("7f", "no MAC command"), ("80" * 49, "more MAC")])
def test_wrong(world, commands, words):
    gw, d = world.gateway(), world.device()
    world.join(d, gw)
    status, answer = world.rest.request("POST", path(d), {"commands": b64(commands)})
    assert status in (400, 429) and words in answer["message"], answer


def test_not_without_a_session(world):
    status, answer = world.rest.request("POST", path(world.device()), {"commands": b64("06")})
    assert status == 400 and "not activated" in answer["message"], answer
