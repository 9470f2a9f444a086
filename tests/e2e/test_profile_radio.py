"""ADR and MAC settings of a device profile, from the API to the device."""

import grpc
import pytest

from lw.gateway import payload

LINK_ADR, DUTY_CYCLE, NEW_CHANNEL = 0x03, 0x04, 0x07


def path(profile):
    return f"/api/longwave/device-profiles/{profile}/radio"


def profile_with(world, radio, version="1.0.3"):
    profile = world.profile(version, name=f"radio {len(world.profiles)}")
    world.rest.put(path(profile), {"radio": radio})
    return profile


def rename(world, profile, name):
    p = world.rest.get(f"/api/device-profiles/{profile}")["deviceProfile"]
    world.rest.put(f"/api/device-profiles/{profile}", {"deviceProfile": {**p, "name": name}})


def test_static_data_rate_and_duty_cycle_reach_the_device(world):
    profile = profile_with(world, {"adr": {"mode": "STATIC", "dr": 3, "txPowerIndex": 2, "nbTrans": 2},
                                   "mac": {"dutyCycle": {"maxDutyCycle": 4}}})
    rename(world, profile, "and they stay when the profile changes")
    gw = world.gateway()
    d = world.device(profile=profile)
    world.join(d, gw)
    seen = {}
    for i in range(8):
        world.enqueue(d, b"so that a downlink comes")
        world.send(d, gw, data=b"x", adr=True)
        down = d.downlink(payload(gw.next_txpk()))
        seen.update({k: v for k, v in down.commands.items() if k in (LINK_ADR, DUTY_CYCLE)})
        if len(seen) == 2:
            break
    assert seen[DUTY_CYCLE] == b"\x04"
    assert seen[LINK_ADR][0] == 0x32 and seen[LINK_ADR][3] & 15 == 2  # DR3, TXPower 2, NbTrans 2


def test_a_device_is_not_asked_for_rates_that_it_does_not_support(world):
    profile = world.profile(name="slow", supportedUplinkDataRates=[0, 1, 2])
    assert world.rest.get(f"/api/device-profiles/{profile}")["deviceProfile"]["supportedUplinkDataRates"] == [0, 1, 2]
    gw = world.gateway()
    d = world.device(profile=profile)
    world.join(d, gw)
    ranges = []
    for _ in range(4):
        world.enqueue(d, b"so that a downlink comes")
        world.send(d, gw, data=b"x", adr=True)
        down = d.downlink(payload(gw.next_txpk()))
        ranges += [v[4] for k, v in down.commands.items() if k == NEW_CHANNEL]
        assert down.commands.get(LINK_ADR, b"\0")[0] >> 4 <= 2
    assert ranges and set(ranges) == {0x20}, ranges  # DR0 to DR2
    p = world.rest.get(f"/api/device-profiles/{profile}")["deviceProfile"]
    status, answer = world.rest.request("PUT", f"/api/device-profiles/{profile}",
                                        {"deviceProfile": {**p, "supportedUplinkDataRates": [16]}})
    assert status == 400 and "supported_uplink_data_rates" in answer["message"], answer


def rates(world, region, mac, rp):
    return world.rest.get(f"/api/longwave/uplink-data-rates?region={region}&macVersion={mac}&regParamsRevision={rp}")["dataRates"]


def test_the_rates_to_choose_from_are_told_and_taken(world):
    old = rates(world, "EU868", "LORAWAN_1_0_3", "A")
    assert [r["dr"] for r in old] == list(range(8))  # neither LR-FHSS nor SF5 then
    assert (old[0]["modulation"]["lora"]["spreadingFactor"], old[0]["modulation"]["lora"]["bandwidth"]) == (12, 125000)
    assert old[7]["modulation"]["fsk"]["datarate"] == 50000
    new = rates(world, "EU868", "LORAWAN_1_0_4", "RP002_1_0_5")
    assert [r["dr"] for r in new] == list(range(14)) and new[8]["modulation"]["lrFhss"]["operatingChannelWidth"] == 137000
    legacy = rates(world, "AU915", "LORAWAN_1_0_0", "A")  # the first rates of this region were others
    assert [r["dr"] for r in legacy] == list(range(5)) and legacy[0]["modulation"]["lora"]["spreadingFactor"] == 10
    for region, mac, rp, version in (("US915", "LORAWAN_1_0_3", "A", "1.0.3"), ("CN470", "LORAWAN_1_0_4", "RP002_1_0_3", "1.0.4"),
                                     ("ISM2400", "LORAWAN_1_0_4", "RP002_1_0_3", "1.0.4")):
        listed = [r["dr"] for r in rates(world, region, mac, rp)]
        assert listed, region
        world.profile(version=version, region=region, name=f"all of {region}", supportedUplinkDataRates=listed)
    for unknown in "macVersion", "regParamsRevision":
        status, answer = world.rest.request("GET", f"/api/longwave/uplink-data-rates?region=EU868&{unknown}=77")
        assert status == 400 and unknown in answer["message"], answer
    for unknown in "region", "mac_version", "reg_params_revision":
        with pytest.raises(grpc.RpcError) as e:
            world.stack.api.call("longwave.app.v1.DeviceProfileService/ListUplinkDataRates", **{unknown: 77})
        assert (e.value.code(), e.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, f"{unknown} is unknown")


def test_kept_read_back_and_not_lost_by_the_profile(world):
    radio = {"adr": {"mode": "DYNAMIC", "bounds": {"minDr": 2, "maxDr": 4}},
             "mac": {"adrAck": {"limitExp": 5, "delayExp": 4}, "txParams": {"uplinkDwellTime400ms": True, "maxEirpDbm": 14},
                     "rejoin": {"maxTimeN": 3, "maxCountN": 2}, "beaconFreqHz": 869525000,
                     "downlinkChannels": [{"index": 0, "freqHz": 869525000}]}}
    profile = world.profile(name="kept")
    assert world.rest.get(path(profile))["radio"]["adr"] is None
    world.rest.put(path(profile), {"radio": radio})
    got = world.rest.get(path(profile))["radio"]
    assert got["adr"]["bounds"] == radio["adr"]["bounds"] and got["mac"]["rejoin"] == radio["mac"]["rejoin"]
    assert got["mac"]["downlinkChannels"] == radio["mac"]["downlinkChannels"] and got["mac"]["beaconFreqHz"] == 869525000
    rename(world, profile, "renamed")
    assert world.rest.get(path(profile))["radio"] == got
    p = world.rest.get(f"/api/device-profiles/{profile}")["deviceProfile"]
    # A region where the frequencies cannot be: the network-server refuses, and nothing changes.
    status, answer = world.rest.request("PUT", f"/api/device-profiles/{profile}", {"deviceProfile": {**p, "region": "US915"}})
    assert status == 400 and "mac.beacon_freq_hz" in answer["message"], answer
    world.rest.put(path(profile), {"radio": {}})
    assert world.rest.get(path(profile))["radio"]["mac"] is None


@pytest.mark.parametrize("radio,text", [
    ({"adr": {"mode": "STATIC", "dr": 14}}, "adr.dr: 14 is no uplink data rate of EU868"),
    ({"adr": {"mode": "STATIC", "dr": 3, "txPowerIndex": 8}}, "adr.tx_power_index is not 0 to 7"),
    ({"adr": {"mode": "STATIC", "dr": 3, "nbTrans": 16}}, "adr.nb_trans is not 0 to 15"),
    ({"adr": {"bounds": {"minDr": 4, "maxDr": 2}}}, "adr.bounds.min_dr is above max_dr"),
    ({"adr": {"bounds": {"minDr": 4, "maxDr": 14}}}, "adr.bounds.max_dr: 14 is no uplink data rate of EU868"),
    ({"mac": {"dutyCycle": {"maxDutyCycle": 16}}}, "mac.duty_cycle.max_duty_cycle is not 0 to 15"),
    ({"mac": {"adrAck": {"limitExp": 16}}}, "mac.adr_ack.limit_exp is not 0 to 15"),
    ({"mac": {"adrAck": {"delayExp": 16}}}, "mac.adr_ack.delay_exp is not 0 to 15"),
    ({"mac": {"txParams": {"maxEirpDbm": 7}}}, "mac.tx_params.max_eirp_dbm is not 8 to 36"),
    ({"mac": {"txParams": {"maxEirpDbm": 37}}}, "mac.tx_params.max_eirp_dbm is not 8 to 36"),
    ({"mac": {"rejoin": {"maxTimeN": 16}}}, "mac.rejoin.max_time_n is not 0 to 15"),
    ({"mac": {"rejoin": {"maxCountN": 16}}}, "mac.rejoin.max_count_n is not 0 to 15"),
    ({"mac": {"beaconFreqHz": 915000000}}, "mac.beacon_freq_hz: 915000000 Hz is outside EU868"),
    ({"mac": {"downlinkChannels": [{"index": 16, "freqHz": 869525000}]}}, "mac.downlink_channels.index is not 0 to 15"),
    ({"mac": {"downlinkChannels": [{"index": 1, "freqHz": 915000000}]}}, "mac.downlink_channels.freq_hz: 915000000 Hz is outside EU868"),
    ({"mac": {"downlinkChannels": [{"index": i, "freqHz": 869525000} for i in range(9)]}}, "mac.downlink_channels are more than 8"),
    ({"mac": {"downlinkChannels": [{"index": 1, "freqHz": 869525000}] * 2}}, "mac.downlink_channels.index: 1 is there twice"),
])
def test_refused_by_name(world, radio, text):
    profile = world.profile(name="refused")
    status, answer = world.rest.request("PUT", path(profile), {"radio": radio})
    assert status == 400 and text in answer["message"], answer
    assert world.rest.get(path(profile))["radio"] == {"adr": None, "mac": None}


@pytest.mark.parametrize("radio", [
    {"adr": {"mode": "STATIC", "dr": 13, "txPowerIndex": 7, "nbTrans": 15, "bounds": {"minDr": 0, "maxDr": 13}},
     "mac": {"dutyCycle": {"maxDutyCycle": 15}, "adrAck": {"limitExp": 15, "delayExp": 15}, "txParams": {"maxEirpDbm": 36},
             "rejoin": {"maxTimeN": 15, "maxCountN": 15}, "downlinkChannels": [{"index": i, "freqHz": 869525000} for i in range(8, 16)]}},
    {"adr": {"bounds": {"minDr": 2, "maxDr": 2}}, "mac": {"txParams": {"maxEirpDbm": 8}}},
])
def test_the_limits_themselves_are_taken(world, radio):
    profile = world.profile("1.0.4", name="limits", regParamsRevision="RP002_1_0_5")
    world.rest.put(path(profile), {"radio": radio})
    got = world.rest.get(path(profile))["radio"]
    for part, members in radio.items():
        for name, value in members.items():
            if isinstance(value, dict):
                assert value.items() <= got[part][name].items(), name
            else:
                assert got[part][name] == value, name
