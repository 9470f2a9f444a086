"""A broker that was killed has forgotten what it acknowledged: the bridge says it again, in order, before anything newer."""

import base64
import json
import os
import signal

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import lw
from bridge.gateway import LORA, Bridge

N = 20
MARKER = "longwave/gateway-bridge/+/marker"


def frame(n):
    data = b"\x40" + n.to_bytes(13, "big")
    return {"rxpk": [dict(LORA, tmst=n, data=base64.b64encode(data).decode())]}


def number(payload):
    return int.from_bytes(base64.b64decode(json.loads(payload)["phyPayload"])[1:], "big")


class Server:
    """As a network-server: a lasting session, which the broker keeps messages for while the connection is away. Takes
    notice of what the bridge marks as said again."""

    def __init__(self, port):
        self.port, self.got, self.again, self.ready = port, [], [], False

    def connect(self):
        self.ready = False
        self.client = paho.Client(client_id="server", protocol=paho.MQTTv5)
        self.client.on_message = self._message
        self.client.on_connect = lambda c, *_: c.subscribe("eu868/gateway/+/event/+", qos=1)
        self.client.on_subscribe = self._subscribed
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        properties.ReceiveMaximum = 65535
        self.client.connect("127.0.0.1", self.port, clean_start=False, properties=properties)
        self.client.loop_start()
        lw.wait_for(lambda: self.ready, text="subscription")

    def _subscribed(self, *_):
        self.ready = True

    def _message(self, _client, _user, m):
        if m.topic.endswith("/up"):
            said = dict(getattr(m.properties, "UserProperty", []))
            (self.again if "longwave-again" in said else self.got).append(number(m.payload))

    def leave(self):
        """The connection is gone, the session stays."""
        self.client.loop_stop()
        self.client._sock_close()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def bridge(tmp_path, mosquitto, procs, request):
    config = request.node.get_closest_marker("config")
    return Bridge(tmp_path, mosquitto, procs, marshaler="json", **(config.kwargs if config else {}))


@pytest.fixture
def server(mosquitto):
    s = Server(mosquitto.port)
    s.connect()
    yield s
    s.close()


def metric(bridge, name):
    return bridge.daemon.metrics()["longwave_gb_" + name]


def acknowledged(bridge):
    return metric(bridge, 'mqtt_published_total{event="up"}') - metric(bridge, "mqtt_pending")


def send(bridge, gw, a, b):
    for i in range(a, b):
        gw.push(frame(i))
    lw.wait_for(lambda: acknowledged(bridge) == b, text=f"{b} acknowledged")


def kill_and_return(bridge, mosquitto, server):
    """The bridge is back only after who listens, so that what nobody hears is not what is tested."""
    mosquitto.kill()
    lw.wait_for(lambda: bridge.daemon.health()[0] == 503, text="broker away")
    os.kill(bridge.daemon.pid, signal.SIGSTOP)
    mosquitto.start()
    server.connect()
    os.kill(bridge.daemon.pid, signal.SIGCONT)


def test_without_a_save_everything_comes_again(bridge, mosquitto, server):
    gw = bridge.gateway().pull()
    send(bridge, gw, 0, 1)
    lw.wait_for(lambda: server.got == [0], text="the first")
    server.leave()
    send(bridge, gw, 1, N)
    kill_and_return(bridge, mosquitto, server)
    for i in range(N, N + 5):
        gw.push(frame(i))
    lw.wait_for(lambda: N + 4 in server.got, text="what was sent last")
    assert server.again == list(range(N)), "what was acknowledged, marked as said again"
    assert server.got[1:] == list(range(N, N + 5)), "what is new, as such"
    assert metric(bridge, "republished_total") == N
    assert bridge.daemon.output().count("may have forgotten") == 1


def test_after_a_save_only_what_came_later(bridge, mosquitto, server):
    """The broker comes back with the session of its last save: it says that it is there, but not what was added since."""
    marks = lw.Mqtt(mosquitto.port, MARKER)
    gw = bridge.gateway().pull()
    server.leave()
    send(bridge, gw, 0, N)
    marks.take("/marker")
    db = mosquitto.dir / "mosquitto.db"
    lw.wait_for(lambda: metric(bridge, "mqtt_pending") == 0, text="marker acknowledged")
    os.kill(mosquitto.pid, signal.SIGUSR1)  # autosave, now
    lw.wait_for(db.exists, text="saved")
    send(bridge, gw, N, 2 * N)
    marks.close()
    kill_and_return(bridge, mosquitto, server)
    lw.wait_for(lambda: len(server.got) + len(server.again) >= 2 * N, text="all")
    lw.wait_for(lambda: metric(bridge, "republished_total") == N, text="only the second half")
    assert server.got == list(range(N)), "what the broker had saved"
    assert server.again == list(range(N, 2 * N))


def test_an_orderly_restart_needs_no_copies(bridge, mosquitto, server):
    marks = lw.Mqtt(mosquitto.port, MARKER)
    gw = bridge.gateway().pull()
    send(bridge, gw, 0, N)
    marks.take("/marker")
    lw.wait_for(lambda: metric(bridge, "mqtt_pending") == 0, text="marker acknowledged")
    marks.close()
    server.leave()
    mosquitto.stop()
    lw.wait_for(lambda: bridge.daemon.health()[0] == 503, text="broker away")
    mosquitto.start()
    server.connect()
    lw.wait_for(lambda: bridge.daemon.health()[0] == 200, text="broker back")
    gw.push(frame(N))
    lw.wait_for(lambda: N in server.got, text="what is new")
    assert server.again == [] and sorted(server.got) == list(range(N + 1))
    assert metric(bridge, "republished_total") == 0


@pytest.mark.config(republish={"max_age": "0s"})
def test_it_can_be_turned_off(bridge, mosquitto, server):
    """And without it, the frames are lost: what the other tests show is not the broker's doing."""
    gw = bridge.gateway().pull()
    server.leave()
    send(bridge, gw, 0, N)
    kill_and_return(bridge, mosquitto, server)
    gw.push(frame(N))
    lw.wait_for(lambda: N in server.got, text="what is new")
    assert server.got == [N] and server.again == []


@pytest.mark.config(republish={"max_size": "1MiB"})
def test_memory_is_bounded(bridge, server):
    assert server.got == []
    gw = bridge.gateway().pull()
    for i in range(12000):
        gw.push(frame(i), wait=False) if i % 100 else gw.push(frame(i))
    lw.wait_for(lambda: metric(bridge, "republish_evicted_total") > 0, text="the oldest went")
    assert metric(bridge, "republish_bytes") <= 1.3 * 1024 * 1024
