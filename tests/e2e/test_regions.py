"""A region configuration of the operator's own, from the file to the air."""

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
    txpk = own.join(d, gw)
    # A device that joins listens in the region's own RX2; the power is ours.
    assert (txpk["freq"], txpk["powe"]) == (869.525, 11)
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
