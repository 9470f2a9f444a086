"""A device moves to another server without a join: export here, import there, and it goes on."""

import base64
import copy

import pytest

from lw.gateway import payload
from lw.stack import Stack, World


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A second Longwave that knows nothing of the first."""
    s = Stack(tmp_path_factory.mktemp("other"))
    yield s
    s.close()


def session_path(d):
    return f"/api/longwave/devices/{d.dev_eui}/session"


def register_again(there, d):
    """The same device, not activated, in a world of the other stack."""
    there.rest.post("/api/devices", {"device": {
        "devEui": d.dev_eui, "joinEui": d.join_eui, "name": "moved", "applicationId": there.app,
        "deviceProfileId": there.profile(d.version)}})
    keys = {"devEui": d.dev_eui, "nwkKey": d.nwk_key.hex(), **({"appKey": d.app_key.hex()} if d.is_11 else {})}
    there.rest.post(f"/api/devices/{d.dev_eui}/keys", {"deviceKeys": keys})


@pytest.mark.parametrize("version", ["1.0.3", "1.1.0"])
def test_device_moves_without_a_join(world, other, version):
    here, there = world, World(other)
    gw = here.gateway()
    d = here.device(version)
    here.join(d, gw)
    for i in range(3):
        here.enqueue(d, b"down %d" % i, confirmed=i == 2)  # the last one is acknowledged there
        here.send(d, gw, data=b"up %d" % i)
        here.stack.events.wait(d.dev_eui, "up", i + 1)
        assert d.downlink(payload(gw.next_txpk())).data == b"down %d" % i
    exported = here.rest.get(session_path(d) + "?includeAppSKey=true")
    assert exported["appSKey"] == d.app_s_key.hex()
    counters = exported["session"]["counters"]
    assert counters["fCntUp"] == 3 and counters["confFCnt"] == d.ack_down and exported["session"]["devAddr"] == f"{d.dev_addr:08x}"
    assert exported["session"]["devNonce"] == d.dev_nonce and exported["joinNonce"] > d.join_nonce

    register_again(there, d)
    there.rest.post(session_path(d), exported)
    # All of it is there: nothing but the name of the AppSKey differs.
    again = there.rest.get(session_path(d))
    want = {**exported["session"], "sessionKeyId": again["session"]["sessionKeyId"]}
    assert again["session"] == want
    assert again["appSKey"] == "" and again["joinNonce"] == exported["joinNonce"]
    assert there.rest.get(f"/api/devices/{d.dev_eui}/activation")["deviceActivation"]["appSKey"] == d.app_s_key.hex()
    found = there.rest.post("/api/internal/search", {"search": f"{d.dev_addr:08x}", "limit": 10})["result"]
    assert [x["deviceDevEui"] for x in found] == [d.dev_eui]

    moved = there.gateway()
    there.enqueue(d, b"from there", f_port=9)
    before = dict(d.next_down)
    there.send(d, moved, data=b"still me", f_port=4)
    up = there.stack.events.wait(d.dev_eui, "up")
    assert base64.b64decode(up["data"]) == b"still me" and (up["fCnt"], up["fPort"]) == (3, 4)
    down = d.downlink(payload(moved.next_txpk()))
    assert down.data == b"from there" and down.f_cnt == before["a" if d.is_11 else "n"]
    # The join of before is used here, too: a replay is refused.
    moved.uplink(d.join_request(nonce=d.dev_nonce), d.plan.channels[0], d.datr)
    assert there.stack.events.wait(d.dev_eui, "log")["code"] == "OTAA"
    # And it can join.
    there.join(d, moved)
    there.close()


@pytest.mark.parametrize("used", ["the one before", "the last one"])
def test_both_joins_that_were_not_used_yet_move(world, other, used):
    """Of two joins the device may use either; the payloads of either are read there."""
    here, there = world, World(other)
    gw = here.gateway()
    d = here.device()
    here.join(d, gw)
    here.send(d, gw, data=b"first")
    here.stack.events.wait(d.dev_eui, "up")
    here.join(d, gw)
    before = copy.deepcopy(d)
    here.join(d, gw)
    exported = here.rest.get(session_path(d) + "?includeAppSKey=true")
    rejoin = exported["session"]["rejoin"]
    assert (rejoin["offerBefore"]["devNonce"], rejoin["offer"]["devNonce"]) == (before.dev_nonce, d.dev_nonce)
    assert (exported["offeredBeforeAppSKey"], exported["offeredAppSKey"]) == (before.app_s_key.hex(), d.app_s_key.hex())

    register_again(there, d)
    there.rest.post(session_path(d), exported)
    again = there.rest.get(session_path(d))["session"]["rejoin"]
    assert (again["offerBefore"]["devNonce"], again["offer"]["devNonce"]) == (before.dev_nonce, d.dev_nonce)
    moved = there.gateway()
    there.send(before if used == "the one before" else d, moved, data=b"by " + used.encode(), f_port=4)
    assert base64.b64decode(there.stack.events.wait(d.dev_eui, "up")["data"]) == b"by " + used.encode()
    there.close()


def test_app_s_key_only_when_asked(world):
    gw = world.gateway()
    d = world.device()
    world.join(d, gw)
    assert world.rest.get(session_path(d))["appSKey"] == ""
    secrets = d.app_s_key.hex(), d.f_nwk_s_int.hex(), base64.b64encode(d.f_nwk_s_int).decode()
    world.rest.get(session_path(d) + "?includeAppSKey=true")
    for daemon in (world.stack.app, world.stack.ns):
        text = daemon.log.read_text(errors="replace")
        assert not [s for s in secrets if s in text]


def test_without_the_right_to_change_it(world):
    d = world.device(otaa=False)
    password = "a-viewers-password"
    user = world.rest.post("/api/users", {"user": {"email": f"viewer{world.n}@example.org", "isActive": True}, "password": password,
                                          "tenants": [{"tenantId": world.tenant}]})["id"]
    assert user
    viewer = world.rest.login(f"viewer{world.n}@example.org", password)
    assert viewer.get(f"/api/devices/{d.dev_eui}")["device"]["devEui"] == d.dev_eui
    viewer.get(session_path(d), expect=403)
    viewer.post(session_path(d), {}, expect=403)


@pytest.mark.parametrize("change,status,text", [
    (lambda x: x.update(session=None), 400, "session is missing"),
    (lambda x: x["session"].update(version=2), 400, "version is none that this server reads"),
    (lambda x: x["session"].update(devEui="0102030405060708"), 400, "session.dev_eui is of another device"),
    (lambda x: x["session"].update(devAddr="12"), 400, "session.dev_addr"),
    (lambda x: x.update(appSKey="00"), 400, "app_s_key is not a key of 32 hexadecimal digits"),
    (lambda x: x["session"]["receive"].update(rx1DelayS=16), 400, "receive.rx1_delay_s is above 15"),
    (lambda x: x["session"]["receive"].update(rx2FreqHz=915000000), 400, "receive.rx2_freq_hz is outside the region"),
    (lambda x: x["session"].update(regionConfigId="us915_0"), 400, "region_config_id is of another region"),
    (lambda x: x["session"].update(regionConfigId="mars"), 400, "region_config_id: mars is not enabled here"),
    (lambda x: x["session"].update(enabledClass="CLASS_B"), 400, "enabled_class is one that the device profile does not support"),
    (lambda x: x["session"].update(enabledClass="CLASS_C"), 400, "enabled_class is one that the device profile does not support"),
    (lambda x: x["session"].update(macVersion="LORAWAN_1_1_0"), 400, "mac_version is 1.1"),
])
def test_wrong_input(world, change, status, text):
    gw = world.gateway()
    d = world.device(otaa=False)
    exported = world.rest.get(session_path(d) + "?includeAppSKey=true")
    change(exported)
    got, answer = world.rest.request("POST", session_path(d), exported)
    assert got == status and text in answer["message"], answer
    # What was there goes on.
    world.send(d, gw, data=b"x")
    assert base64.b64decode(world.stack.events.wait(d.dev_eui, "up")["data"]) == b"x"


def test_the_queue_goes_only_when_asked(world):
    d = world.device(otaa=False)
    world.enqueue(d, b"waits")
    exported = world.rest.get(session_path(d) + "?includeAppSKey=true")
    world.rest.post(session_path(d), exported)
    assert [base64.b64decode(i["data"]) for i in world.queue(d)] == [b"waits"]
    world.rest.post(session_path(d), {**exported, "flushQueue": True})
    assert world.queue(d) == []


def test_not_activated(world):
    d = world.device()
    got, answer = world.rest.request("GET", session_path(d))
    assert got == 400 and "not activated" in answer["message"]
