"""Proprietary frames from the API to the air of a gateway, and what becomes of them."""

import base64

import pytest

import lw
from lw.gateway import payload
from lw.stack import Stack, World

LORA = {"lora": {"bandwidth": 125000, "spreadingFactor": 9, "codeRate": "CR_4_5", "polarizationInversion": True}}


def send(world, gw, status=200, **frame):
    body = {"payload": base64.b64encode(b"beep").decode(), "frequencyHz": 869525000, "modulation": LORA, "regionConfigId": "eu868", **frame}
    return world.rest.call("POST", f"/api/longwave/gateways/{gw.id}/proprietary", {"frame": body}, expect=status)


@pytest.mark.parametrize("inverted", [True, False])
def test_sent(world, inverted):
    gw = world.gateway()
    lora = {**LORA["lora"], "polarizationInversion": inverted}
    got = send(world, gw, modulation={"lora": lora}, powerDbm=12)
    txpk = gw.next_txpk()
    assert payload(txpk) == b"\xe0beep" and txpk["imme"] is True
    assert (txpk["freq"], txpk["datr"], txpk["powe"], txpk["ipol"]) == (869.525, "SF9BW125", 12, inverted)
    done = lw.wait_for(lambda: [f for f in world.stack.frames(gateway_id=gw.id) if f.downlink_id == got["downlinkId"] and f.outcome == 1],
                       text="the gateway's answer in its log")
    assert done[0].f_type == 7 and not done[0].dev_eui


def test_refused(world):
    gw = world.gateway()
    gw.refuse = lambda txpk: "TX_FREQ"
    send(world, gw)
    world.stack.wait_frame("TX_FREQ", gateway_id=gw.id)


def test_region_is_known_after_a_restart(tmp_path):
    """Where its last statistics came from is where it is sent to, also by a network-server that has heard nothing of it yet."""
    stack = Stack(tmp_path)
    world = World(stack)
    try:
        gw = world.gateway("us915_0")
        send(world, gw, status=400, regionConfigId="", frequencyHz=923300000)
        gw.push({"stat": {"time": "2026-11-23 00:00:00 GMT", "rxnb": 0, "rxok": 0, "rxfw": 0, "ackr": 100.0, "dwnb": 0, "txnb": 0}})
        lw.wait_for(lambda: world.rest.get(f"/api/gateways/{gw.id}").get("lastSeenAt"), text="the statistics")
        stack.ns.stop()
        stack.ns.start()
        lw.wait_for(lambda: stack.healthy(stack.ns), text="the network-server's health")
        body = {"payload": base64.b64encode(b"beep").decode(), "frequencyHz": 923300000, "modulation": LORA}
        path = f"/api/longwave/gateways/{gw.id}/proprietary"
        # The app-server finds the network-server again in a moment.
        status, answer = lw.wait_for(lambda: next((r for r in [world.rest.request("POST", path, {"frame": body})] if r[0] != 503), None))
        assert status == 200, answer
        assert payload(gw.next_txpk()) == b"\xe0beep"
    finally:
        world.close()
        stack.close()


def test_at_the_limits(world):
    gw = world.gateway()
    send(world, gw, payload=base64.b64encode(bytes(254)).decode(), powerDbm=60,
         modulation={"lora": {**LORA["lora"], "spreadingFactor": 7}})
    txpk = gw.next_txpk()
    assert payload(txpk) == b"\xe0" + bytes(254) and txpk["powe"] == 29  # what the region allows there


@pytest.mark.parametrize("frame, status, words", [
    ({"payload": ""}, 400, "1 to 254"), ({"payload": base64.b64encode(bytes(255)).decode()}, 400, "1 to 254"),
    ({"modulation": {"lora": {**LORA["lora"], "spreadingFactor": 13}}}, 400, "spreading_factor"),
    ({"modulation": {"lora": {**LORA["lora"], "bandwidth": 999}}}, 400, "bandwidth"), ({"powerDbm": -61}, 400, "power_dbm"),
    ({"frequencyHz": 915000000}, 400, "outside the region"), ({"modulation": {}}, 400, "neither lora nor fsk"),
    ({"modulation": {"lora": {**LORA["lora"], "codeRate": "CR_2_6"}}}, 400, "code_rate"),
    ({"regionConfigId": "mars"}, 400, "mars is not enabled here"), ({"powerDbm": 61}, 400, "power_dbm"),
    ({"regionConfigId": ""}, 400, "say region_config_id")])
def test_wrong(world, frame, status, words):
    gw = world.gateway()
    assert words in send(world, gw, status=status, **frame)["message"]
    assert not gw.offers()
