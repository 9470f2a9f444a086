"""A region configuration of the operator's own, from the file to the air."""

import json

import pytest

from lw.gateway import payload
from lw.stack import Stack, World


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("regions"), **{"network-server": {"network": {"enabled_regions": ["eu868"], "regions": [
        {"id": "eu868", "rx_window": 2, "rx2_dr": 3, "rx2_frequency": 868300000, "rx1_delay": 2, "downlink_tx_power": 11,
         "description": "the roof", "keep_extra_channels": "false", "extra_channels": [{"frequency": 868900000}]}]}}})
    world = World(stack)
    yield world
    world.close()
    stack.close()


def test_join_and_answer(own):
    gw = own.gateway()
    d = own.device("1.0.3")
    rx = gw.uplink(d.join_request(), d.hz, d.datr)
    txpk = gw.next_txpk()
    d.accept(payload(txpk))
    # A device that joins listens in the region's own RX2, at the region's own time; the power is ours.
    assert (txpk["freq"], txpk["powe"]) == (869.525, 11)
    assert txpk["tmst"] == (rx["tmst"] + 6_000_000) % 2**32
    assert (d.rx2_dr, d.rx_delay, d.channels[3]) == (3, 2, 868900000) and 4 not in d.channels
    _, rx = own.send(d, gw, data=b"?", confirmed=True)
    txpk = gw.next_txpk()
    assert txpk["tmst"] == (rx["tmst"] + 3_000_000) % 2**32 and txpk["datr"] == "SF9BW125"
    down = d.downlink(payload(txpk))
    # RX2's frequency is no part of a join-accept.
    assert down.commands[0x05][1:] == (8683000).to_bytes(3, "little")


def test_shown(own):
    listed = own.rest.get("/api/internal/regions")["regions"]
    assert [(r["id"], r["description"]) for r in listed] == [("eu868", "the roof")]


def test_a_profile_names_only_what_is_configured(own):
    def refused(**members):
        body = {"name": "x", "tenantId": own.tenant, "region": "EU868", "macVersion": "LORAWAN_1_0_3", "regParamsRevision": "A",
                "adrAlgorithmId": "default", "supportsOtaa": True, "uplinkInterval": 60, **members}
        status, answer = own.rest.request("POST", "/api/device-profiles", {"deviceProfile": body})
        assert status == 400, answer
        return answer["message"]

    assert refused(regionConfigId="eu868_roof") == (
        "region_config_id: eu868_roof is not configured in the network-server; configured for EU868 are: eu868")
    assert refused(regionConfigId="eu868", region="US915") == (
        "region_config_id: eu868 is of another region; configured are: eu868")
    profile = own.profile(name="named", regionConfigId="eu868")
    p = own.rest.get(f"/api/device-profiles/{profile}")["deviceProfile"]
    status, answer = own.rest.request("PUT", f"/api/device-profiles/{profile}", {"deviceProfile": {**p, "regionConfigId": "eu433"}})
    assert status == 400 and "configured for EU868 are: eu868" in answer["message"], answer
    assert own.rest.get(f"/api/device-profiles/{profile}")["deviceProfile"]["regionConfigId"] == "eu868"


def test_a_profile_whose_configuration_is_gone_says_so(tmp_path):
    roof = {"id": "eu868_roof", "base": "eu868", "topic_prefix": "eu868_roof"}
    stack = Stack(tmp_path, **{"network-server": {"network": {"regions": [roof]}}})
    try:
        world = World(stack)
        d = world.device(regionConfigId="eu868_roof")
        profile = next(iter(world.profiles.values()))
        config = json.loads(stack.ns.config_path.read_text())
        del config["network"]
        stack.ns.config_path.write_text(json.dumps(config))
        stack.restart(stack.ns)
        line = next(x for x in stack.ns.output().splitlines() if "is not enabled: its devices cannot join" in x)
        assert profile in line and "eu868_roof" in line
        gw = world.gateway()
        gw.uplink(d.join_request(), d.hz, d.datr)
        f = stack.wait_frame("WRONG_REGION", dev_eui=d.dev_eui)
        assert "is for region configuration eu868_roof only, which is not enabled on this server" in f.detail, f.detail
        world.close()
    finally:
        stack.close()
