"""What waits for a device of class C is sent after a restart without a word of the device."""

import pytest

from lw.gateway import payload
from lw.stack import Stack, World


@pytest.fixture()
def own(tmp_path):
    stack = Stack(tmp_path)
    world = World(stack)
    yield world
    world.close()
    stack.close()


def test_class_c_after_a_restart(own):
    stack, gw = own.stack, own.gateway()
    d = own.device("1.0.3", supportsClassC=True, classCTimeout=5)
    own.join(d, gw)
    own.send(d, gw, data=b"here")
    stack.events.wait(d.dev_eui, "up")
    # The network-server dies before the gateway has said yes: nobody knows of the item but the database.
    gw.refuse = lambda txpk: False
    own.enqueue(d, b"now or never")
    gw.next_offer()
    stack.ns.kill()
    gw.refuse = lambda txpk: None
    stack.ns.start()
    stack.wait_healthy()
    down = d.downlink(payload(gw.next_txpk()))
    assert down.data == b"now or never"
    stack.events.wait(d.dev_eui, "txack")
    assert own.queue(d) == []


@pytest.mark.only_store("postgres")
def test_class_c_of_a_replica_that_is_gone(tmp_path):
    """The one that was about to send it never comes back: another one does."""
    stack = Stack(tmp_path, replicas=2)
    world = World(stack)
    gw = world.gateway()
    d = world.device("1.0.3", supportsClassC=True, classCTimeout=5)
    world.join(d, gw)
    world.send(d, gw, data=b"here")
    stack.events.wait(d.dev_eui, "up")
    gw.refuse = lambda txpk: False
    world.enqueue(d, b"whoever is left")  # by the first network-server that the first app-server knows
    gw.next_offer()
    stack.nss[0].kill()
    gw.refuse = lambda txpk: None
    down = d.downlink(payload(gw.next_txpk()))
    assert down.data == b"whoever is left"
    world.close()
    stack.close()
