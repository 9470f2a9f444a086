"""An MQTT client that keeps everything it receives, in order, or hands it to on_message (on the client's thread)."""

import threading
from collections import namedtuple

import paho.mqtt.client as paho

from lw.procs import PATIENCE_S

Received = namedtuple("Received", "topic payload retain qos dup")


class Mqtt:
    def __init__(self, port, *filters, client_id="", on_message=None):
        self._hand = on_message
        self._ready = threading.Condition()
        self._messages = []
        self._subscribed = 0
        self._connected = False
        self._client = paho.Client(client_id=client_id, clean_session=not client_id)
        self._client.max_inflight_messages_set(0)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._filters = list(filters)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.wait_subscribed()

    def _on_connect(self, client, _user, _flags, rc):
        assert rc == 0
        with self._ready:
            self._connected = True
            self._subscribed = 0
            self._ready.notify_all()
        for f in self._filters:
            client.subscribe(f, qos=1)

    def _on_disconnect(self, _client, _user, _rc):
        with self._ready:
            self._connected = False

    def _on_subscribe(self, *_):
        with self._ready:
            self._subscribed += 1
            self._ready.notify_all()

    def _on_message(self, _client, _user, m):
        received = Received(m.topic, m.payload, bool(m.retain), m.qos, bool(m.dup))
        if self._hand:
            self._hand(received)
            return
        with self._ready:
            self._messages.append(received)
            self._ready.notify_all()

    def wait_subscribed(self, timeout=PATIENCE_S):
        """Connected (again) and every filter granted."""
        with self._ready:
            assert self._ready.wait_for(lambda: self._connected and self._subscribed >= len(self._filters), timeout), "MQTT client"

    def subscribe(self, *filters):
        self._filters += filters
        for f in filters:
            self._client.subscribe(f, qos=1)
        self.wait_subscribed()

    def publish(self, topic, payload, retain=False, qos=1):
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        info.wait_for_publish(PATIENCE_S)

    def take_until(self, wanted, timeout=PATIENCE_S):
        """Removes and returns all messages up to and with the first for which wanted(m) holds."""
        seen = 0

        def index():
            nonlocal seen  # each message is looked at once: the backlog may be long
            while seen < len(self._messages):
                if wanted(self._messages[seen]):
                    return seen
                seen += 1
            return None

        with self._ready:
            if not self._ready.wait_for(lambda: index() is not None, timeout):
                raise AssertionError(f"no such message within {timeout} s; there were {self._messages[-20:]}")
            i = index()
            got, self._messages = self._messages[:i + 1], self._messages[i + 1:]
            return got

    def take(self, topic_end="", timeout=PATIENCE_S):
        """The next message whose topic ends so; what came before it is dropped."""
        return self.take_until(lambda m: m.topic.endswith(topic_end), timeout)[-1]

    def wait_count(self, n, timeout=PATIENCE_S):
        with self._ready:
            assert self._ready.wait_for(lambda: len(self._messages) >= n, timeout), f"{len(self._messages)} of {n} messages"

    def take_all(self):
        with self._ready:
            got, self._messages = self._messages, []
            return got

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
