"""The HTTP integration: what a receiver gets, and that it gets it: receiver or app-server away, refusals, another endpoint dead,
replay."""

import base64
import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

import lw
from lw.procs import PATIENCE_S, free_port
from lw.stack import Stack, World
from test_event_json import check_members

FAST = {"integrations": {"http": {"timeout": "1s"}, "retry_max": "1s"}}
OWN_STACK = {"app-server": FAST}


class Receiver:
    """An HTTP server that keeps what it is sent. answer(request) → status, or (status, headers); it may block."""

    def __init__(self, port=0):
        self.port = port or free_port()
        self.got = []      # every request, also repeated ones
        self.answer = lambda r: 200
        self.changed = threading.Condition()
        self.server, self.open = None, []
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                parts = urlsplit(self.path)
                r = SimpleNamespace(path=parts.path, query=parse_qs(parts.query), headers=self.headers, body=body, at=time.monotonic())
                r.key, r.event = self.headers["Idempotency-Key"], r.query["event"][0]
                answer = receiver.answer(r)
                r.status, headers = answer if isinstance(answer, tuple) else (answer, {})
                with receiver.changed:
                    receiver.got.append(r)
                    receiver.changed.notify_all()
                self.send_response(r.status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def process_request(self, request, client_address):
                receiver.open.append(request)
                super().process_request(request, client_address)

            def handle_error(self, *_):
                pass  # a peer that was killed

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            for c in self.open:
                with contextlib.suppress(OSError):
                    c.shutdown(socket.SHUT_RDWR)
            self.open.clear()
        self.server = None

    def taken(self, event="up"):
        """Keys of what it took, in order, repetitions included."""
        with self.changed:
            return [r.key for r in self.got if r.event == event and 200 <= r.status < 300]

    def wait(self, n, event="up", timeout=PATIENCE_S):
        with self.changed:
            ok = self.changed.wait_for(lambda: len(set(self._taken(event))) >= n, timeout)
            assert ok, f"{len(set(self._taken(event)))} of {n} events; {len(self.got)} requests"
            return [r for r in self.got if r.event == event and 200 <= r.status < 300]

    def _taken(self, event):
        return [r.key for r in self.got if r.event == event and 200 <= r.status < 300]


class Site(World):
    """A world with a gateway, ABP devices, and counters of what was sent."""

    def __init__(self, stack, devices=1):
        super().__init__(stack)
        self.gw = self.gateway()
        self.devices = [self.device(otaa=False) for _ in range(devices)]
        self.sent = []
        self.receivers = []

    def receiver(self):
        r = Receiver()
        self.receivers.append(r)
        return r

    def integrate(self, *urls, **more):
        self.rest.post(f"/api/applications/{self.app}/integrations/http", {"integration": {
            "encoding": "JSON", "headers": {}, "eventEndpointUrl": ",".join(urls), **more}})

    def up(self, n=1):
        for _ in range(n):
            for d in self.devices:
                data = f"{d.dev_eui[-4:]}:{len(self.sent)}".encode()
                self.sent.append(data)
                self.send(d, self.gw, data=data, f_port=7)
                # Its turn has come on MQTT: so it has been written for the integrations.
                self.stack.events.wait(d.dev_eui, "up", n=d.f_cnt_up)

    def status(self):
        return self.rest.get(f"/api/longwave/applications/{self.app}/integrations")

    def dead(self):
        return self.rest.get(f"/api/longwave/applications/{self.app}/integrations/dead-letters?limit=100")

    def ask(self, what, **body):
        return self.rest.post(f"/api/longwave/applications/{self.app}/integrations/{what}", body)

    def drained(self):
        lw.wait_for(lambda: all(int(e["waiting"]) == 0 for e in self.status()["endpoints"]), step=0.05, text="an empty queue")

    def close(self):
        super().close()
        self.rest.request("DELETE", f"/api/applications/{self.app}/integrations/http")
        for r in self.receivers:
            r.stop()


@pytest.fixture
def site(stack):
    stack.wait_healthy()
    w = Site(stack, 3)
    yield w
    w.close()


def data_of(r):
    return base64.b64decode(json.loads(r.body)["data"])


def check(site, received):
    """Everything, each device in order; repetitions only with the same key and body."""
    bodies, order = {}, {}
    for r in received:
        assert bodies.setdefault(r.key, r.body) == r.body
        if data_of(r) not in order.setdefault(json.loads(r.body)["deviceInfo"]["devEui"], []):
            order[json.loads(r.body)["deviceInfo"]["devEui"]].append(data_of(r))
    assert len(bodies) == len(site.sent)
    for d in site.devices:
        assert order[d.dev_eui] == [s for s in site.sent if s.startswith(d.dev_eui[-4:].encode())]


def test_json(site):
    r = site.receiver()
    site.integrate(r.url + "?token=x", headers={"Authorization": "Bearer t0ken", "X-Empty": "", "content-type": "text/plain"})
    assert [i["kind"] for i in site.rest.get(f"/api/applications/{site.app}/integrations")["result"]] == ["HTTP", "MQTT_GLOBAL"]
    site.up(2)
    got = r.wait(6)
    check(site, got)
    assert len(r.got) == 6  # once each
    one = got[0]
    body = check_members("up", one.body)
    assert one.path == "/hook" and one.query == {"token": ["x"], "event": ["up"]}
    assert one.headers.get_all("Content-Type") == ["application/json"]
    assert one.headers["Authorization"] == "Bearer t0ken" and one.headers["X-Empty"] == ""
    assert one.key == body["deduplicationId"]
    # The very text that the broker has.
    assert one.body == site.stack.events.of(body["deviceInfo"]["devEui"], "up")[0].raw
    site.drained()
    e = lw.wait_for(lambda: next((e for e in site.status()["endpoints"] if e["state"] == "WORKING"), None), step=0.1, text="WORKING")
    assert e["target"] == r.url and e["deadLetters"] == "0" and e["kind"] == "HTTP"


def test_protobuf(site):
    r = site.receiver()
    site.integrate(r.url, encoding="PROTOBUF")
    site.up()
    one = r.wait(3)[0]
    assert one.headers["Content-Type"] == "application/octet-stream"
    m = lw.message("integration.UplinkEvent").FromString(one.body)
    assert m.data in site.sent and m.deduplication_id == one.key and m.device_info.application_id == site.app


def test_all_events_of_a_join(site):
    r = site.receiver()
    site.integrate(r.url)
    d = site.device()
    site.join(d, site.gw)
    site.send(d, site.gw, data=b"x", f_port=1)
    assert json.loads(r.wait(1, "join")[0].body)["devAddr"]
    r.wait(1, "up")
    # One uplink's events have one deduplicationId, but each a key of its own.
    keys = [x.key for x in r.got]
    assert len(keys) == len(set(keys))


def test_receiver_away(site):
    r = site.receiver()
    site.integrate(r.url)
    site.up()
    r.wait(3)
    r.stop()
    site.up(5)
    e = lw.wait_for(lambda: next((e for e in site.status()["endpoints"] if e["state"] == "FAILING"), None), step=0.1, text="FAILING")
    assert int(e["waiting"]) == 15 and e["lastError"] and e["oldestWaitingAt"] and e["failingSince"]
    r.start()
    check(site, r.wait(18))
    site.up()
    check(site, r.wait(21))
    site.drained()
    lw.wait_for(lambda: site.status()["endpoints"][0]["state"] == "WORKING", step=0.1, text="WORKING")
    assert site.dead()["totalCount"] == 0


def test_receiver_fails_and_hangs(site):
    """5xx and 429 at random, and requests that are taken but never answered."""
    r = site.receiver()
    seen = {}
    hold = threading.Event()

    def answer(q):
        n = seen[q.key] = seen.get(q.key, 0) + 1
        k = int(q.key[:2], 16) % 4
        if n == 1 and k == 0:
            return 500
        if n == 1 and k == 1:
            return 429, {"Retry-After": "1"}
        if n == 1 and k == 2:
            hold.wait(20)
            return 599
        return 200

    r.answer = answer
    site.integrate(r.url)
    site.up(4)
    try:
        check(site, r.wait(12))
    finally:
        hold.set()


def test_refused_is_a_dead_letter(site):
    r = site.receiver()
    bad = site.devices[1].dev_eui
    r.answer = lambda q: 400 if json.loads(q.body)["deviceInfo"]["devEui"] == bad else 200
    site.integrate(r.url)
    site.up(3)
    r.wait(6)
    lw.wait_for(lambda: site.dead()["totalCount"] == 3, step=0.05, text="three dead letters")
    dead = site.dead()["result"]
    assert len(dead) == 3 and all(d["devEui"] == bad and d["event"] == "up" and d["status"] == 400 and d["attempts"] == 1 and "400" in d["error"] for d in dead)
    assert len([q for q in r.got if q.status == 400]) == 3  # asked once each
    assert site.status()["endpoints"][0]["deadLetters"] == "3"
    # Again, still refused.
    assert site.ask("dead-letters/retry", ids=[dead[0]["id"]])["count"] == "1"
    lw.wait_for(lambda: len([q for q in r.got if q.status == 400]) == 4, text="a second refusal")
    lw.wait_for(lambda: site.dead()["totalCount"] == 3, step=0.05, text="three dead letters")
    assert site.ask("dead-letters/discard", ids=[dead[0]["id"]])["count"] == "1"
    r.answer = lambda q: 200
    assert site.ask("dead-letters/retry")["count"] == "2"
    got = r.wait(8)
    late = [q for q in got if json.loads(q.body)["deviceInfo"]["devEui"] == bad]
    assert [q.key for q in late] == [d["idempotencyKey"] for d in dead[1:]]
    assert site.dead()["totalCount"] == 0


def test_a_dead_endpoint_delays_nobody(site):
    well, dead, hangs = site.receiver(), site.receiver(), site.receiver()
    dead.stop()
    hold = threading.Event()
    hangs.answer = lambda q: (hold.wait(60), 200)[1]
    other = Site(site.stack)
    try:
        other_receiver = other.receiver()
        other.integrate(other_receiver.url)
        site.integrate(dead.url, hangs.url, well.url)
        site.up(10)
        other.up(3)
        # While the others still fail.
        check(site, well.wait(30))
        check(other, other_receiver.wait(3))
        assert sorted(int(e["waiting"]) for e in site.status()["endpoints"])[-1] == 30
        # The wrong address is corrected: what waited for it goes there.
        moved = site.receiver()
        site.rest.put(f"/api/applications/{site.app}/integrations/http", {"integration": {
            "encoding": "JSON", "eventEndpointUrl": ",".join([moved.url, hangs.url, well.url])}})
        check(site, moved.wait(30))
    finally:
        hold.set()
        other.close()
    check(site, hangs.wait(30))


def test_kill_the_app_server(site):
    r = site.receiver()
    site.integrate(r.url)
    slow = threading.Event()
    r.answer = lambda q: (slow.wait(0.05), 200)[1]
    for _ in range(3):
        site.up(3)
        for d in site.devices:  # some are on their way while it is killed
            data = f"{d.dev_eui[-4:]}:{len(site.sent)}".encode()
            site.sent.append(data)
            site.send(d, site.gw, data=data, f_port=7)
        site.stack.restart(site.stack.app)
    site.stack.login()
    site.rest = site.stack.rest
    site.up()
    check(site, r.wait(len(site.sent)))
    site.drained()


def test_stop_the_app_server(site):
    """SIGTERM under traffic: what was not sent goes on after the start."""
    r = site.receiver()
    r.answer = lambda q: (time.sleep(0.02), 200)[1]
    site.integrate(r.url)
    site.up(4)
    for d in site.devices:
        site.sent.append(f"{d.dev_eui[-4:]}:{len(site.sent)}".encode())
        site.send(d, site.gw, data=site.sent[-1], f_port=7)
    assert site.stack.app.stop() == 0
    site.stack.app.start(wait=False)
    site.stack.wait_healthy()
    site.stack.login()
    site.rest = site.stack.rest
    check(site, r.wait(len(site.sent)))
    site.drained()


@pytest.mark.only_store("postgres")  # SQLite is never away
def test_the_database_is_away(site):
    """Events wait for it; nothing that was sent is forgotten."""
    r = site.receiver()
    site.integrate(r.url)
    site.up()
    r.wait(3)
    site.stack.pg.kill()
    for d in site.devices:
        site.sent.append(f"{d.dev_eui[-4:]}:{len(site.sent)}".encode())
        site.send(d, site.gw, data=site.sent[-1], f_port=7)
    lw.wait_for(lambda: not site.stack.healthy(site.stack.app), text="the app-server misses it")
    site.stack.pg.start()
    site.stack.wait_healthy()
    site.up()
    check(site, r.wait(9))


def test_two_replicas(tmp_path):
    """One of them serves an endpoint; killed or stopped, the other goes on where it was."""
    stack = Stack(tmp_path, replicas=2, **{"app-server": FAST})
    site = Site(stack, 4)
    try:
        r = site.receiver()
        r.answer = lambda q: (time.sleep(0.02), 200)[1]
        site.integrate(r.url)
        for d in stack.apps:
            lw.wait_for(lambda: d.metrics()["longwave_as_integration_endpoints"] == 1, text="both know of it")
        site.up(3)
        check(site, r.wait(12))
        assert len(r.got) == 12  # nobody sends twice while nothing dies
        for i, end in ((0, "kill"), (1, "kill"), (0, "stop")):
            getattr(stack.apps[i], end)()
            site.up(2)
            stack.apps[i].start(wait=False)
            stack.wait_healthy()
        stack.login()
        site.rest = stack.rest
        site.up(2)
        check(site, r.wait(len(site.sent)))
        site.drained()
    finally:
        site.close()
        stack.close()


def test_bounds(tmp_path):
    """What waits too long becomes a dead letter; the log keeps its size, and says what it dropped."""
    stack = Stack(tmp_path, **{"app-server": {"integrations": {"retry_max": "1s", "give_up_after": "10s", "retention": "10s",
                                                               "dead_letter_retention": "1h", "max_events": 12}}})
    site = Site(stack, 2)
    try:
        r = site.receiver()
        r.stop()
        site.integrate(r.url)
        site.up(3)
        lw.wait_for(lambda: site.dead()["totalCount"] == 6, step=0.2, text="six dead letters")
        site.drained()
        r.start()
        assert site.ask("dead-letters/retry")["count"] == "6"
        check(site, r.wait(6))
        r.stop()
        site.up(10)
        lw.wait_for(lambda: stack.app.metrics()["longwave_as_integration_dropped_total"] > 0, step=0.2, text="dropped ones")
        assert sum(int(e["waiting"]) for e in site.status()["endpoints"]) <= 12
        r.start()
        r.wait(6 + 10)  # the youngest of them
    finally:
        site.close()
        stack.close()


def test_replay(site):
    r = site.receiver()
    site.integrate(r.url)
    site.up(2)
    first = [q.key for q in r.wait(6)]
    site.drained()
    since = max(json.loads(q.body)["time"] for q in r.got)
    lw.wait_for(lambda: time.time() > _unix(since) + 0.1, text="a later moment")
    middle = time.time()
    site.up(2)
    second = [q.key for q in r.wait(12)][6:]
    site.drained()
    r.got.clear()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(middle)) + f".{int(middle % 1 * 1000):03d}Z"
    assert site.ask("replay", since=stamp)["count"] == "6"
    assert sorted(q.key for q in r.wait(6)) == sorted(second)
    site.drained()
    r.got.clear()
    assert site.ask("replay", since="2020-01-01T00:00:00Z")["count"] == "12"
    got = r.wait(12)
    assert sorted(q.key for q in got) == sorted(first + second)
    check(site, got)


def _unix(text):
    from datetime import datetime
    return datetime.fromisoformat(text).timestamp()


def test_configuration(site):
    path = f"/api/applications/{site.app}/integrations/http"

    def refused(code, call, *a):
        call(*a, expect=code)

    refused(404, site.rest.get, path)
    for url in ("", "ftp://x/", "http://", "http://a b/", "http://user:pass@host/"):
        refused(400, site.rest.post, path, {"integration": {"eventEndpointUrl": url}})
    for headers in ({"a b": "c"}, {"a": "b\r\nX: y"}, {"Content-Length": "3"}, {"": "x"}):
        refused(400, site.rest.post, path, {"integration": {"eventEndpointUrl": "http://h/", "headers": headers}})
    conf = {"applicationId": site.app, "encoding": "PROTOBUF", "headers": {"A": "b"}, "eventEndpointUrl": "http://127.0.0.1:9/a, http://127.0.0.1:9/b"}
    site.rest.post(path, {"integration": conf})
    assert site.rest.get(path)["integration"] == conf
    refused(409, site.rest.post, path, {"integration": conf})
    assert [e["target"] for e in site.status()["endpoints"]] == ["http://127.0.0.1:9/a", "http://127.0.0.1:9/b"]
    site.rest.put(path, {"integration": {**conf, "eventEndpointUrl": "http://127.0.0.1:9/b"}})
    assert [e["target"] for e in site.status()["endpoints"]] == ["http://127.0.0.1:9/b"]
    site.rest.delete(path)
    refused(404, site.rest.get, path)
    refused(404, site.rest.delete, path)
    assert site.status()["endpoints"] == []
    assert [i["kind"] for i in site.rest.get(f"/api/applications/{site.app}/integrations")["result"]] == ["MQTT_GLOBAL"]
