"""Bad input from every side: each gets a clear error or is counted, the processes live on, memory does not grow."""

import json
import os
import random
import re
import socket
import subprocess

import pytest
import requests

import lw
from lw.procs import PATIENCE_S, build_dir
from lw.stack import Events, Stack, World, store

SLACK_KB = 6000  # what an allocator may keep; a leak of 100 bytes for each of 100,000 messages is more
OWN_STACK = {}
DAEMONS = ("gateway-bridge", "network-server", "app-server", "geo-server")


@pytest.fixture
def same(stack):
    """Before and after: the same processes, healthy."""
    pids = [d.pid for d in stack.daemons]
    yield stack
    assert [d.pid for d in stack.daemons] == pids
    stack.wait_healthy()


@pytest.fixture
def path(same):
    """Calling it sends an uplink and waits for its event: whatever went before on the same way has been dealt with."""
    w = World(same)
    gw, d = w.gateway(), w.device(otaa=False)

    def works():
        w.send(d, gw, data=b"x")
        same.events.wait(d.dev_eui, "up", d.f_cnt_up)

    works.world, works.gw, works.device = w, gw, d
    works()
    yield works
    w.close()


def random_datagrams(rng, n, eui):
    """Noise; headers with noise behind; JSON cut, nested, wrong; frames that are no LoRaWAN."""
    rxpk = {"tmst": 1, "freq": 868.1, "stat": 1, "modu": "LORA", "datr": "SF7BW125", "codr": "4/5", "rssi": -1, "lsnr": 1, "size": 4,
            "data": "QAECAwQ="}
    values = [None, -1, 1e300, "", "x" * 300, [], {}, [[]], True, 2**70, "SF99BW1", "=", "AAAA", float(2**31)]
    for i in range(n):
        kind = i % 6
        if kind == 0:
            yield rng.randbytes(rng.randrange(0, 400))
        elif kind == 1:
            yield bytes([rng.randrange(4)]) + rng.randbytes(2) + bytes([rng.randrange(8)]) + rng.randbytes(rng.randrange(0, 60))
        elif kind == 2:
            text = json.dumps({"rxpk": [rxpk] * rng.randrange(1, 4)}).encode()
            yield b"\2\0\0\0" + eui + text[:rng.randrange(len(text))]
        elif kind == 3:
            wrong = dict(rxpk, **{rng.choice(list(rxpk)): rng.choice(values)})
            yield b"\2\0\0\0" + eui + json.dumps({"rxpk": [wrong], "stat": rng.choice(values)}).encode()
        elif kind == 4:
            yield b"\2\0\0\0" + eui + b"[" * rng.randrange(1, 1000)
        else:
            text = bytearray(json.dumps({"rxpk": [rxpk]}).encode())
            for _ in range(rng.randrange(1, 8)):
                text[rng.randrange(len(text))] = rng.randrange(256)
            yield b"\2\0\0\0" + eui + bytes(text)


def test_garbage_datagrams(same, path):
    rng = random.Random(7)
    eui = bytes.fromhex(path.gw.id)

    def dose(n):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for i, d in enumerate(random_datagrams(rng, n, eui)):
                s.sendto(d, ("127.0.0.1", same.udp["eu868"]))
                if i % 500 == 499:
                    path()

    def dropped():
        return sum(v for k, v in same.bridge.metrics().items() if k.startswith("longwave_gb_dropped_total"))

    dose(3000)
    before, rss = dropped(), [d.rss_kb() for d in (same.bridge, same.ns)]
    dose(6000)
    path()
    assert dropped() > before + 3000
    for d, kb in zip((same.bridge, same.ns), rss):
        assert d.rss_kb() < kb + SLACK_KB, d.name


def random_payloads(rng, n):
    sizes = (0, 1, 2, 7, 30, 200, 1500)
    for i in range(n):
        if i % 5000 == 0:
            yield rng.randbytes(65536)
        elif i % 4 == 0:
            yield json.dumps({rng.choice(("devEui", "fPort", "data", "object", "items", "rxInfo", "phyPayload")):
                              rng.choice((None, 1, -1, "", "x", [], {}, [1], 1e99))}).encode()
        else:
            yield rng.randbytes(rng.choice(sizes))


def test_random_mqtt_payloads(same, path):
    """100,000 onto the topics of gateways' events and applications' commands."""
    rng = random.Random(11)
    w, d, gw = path.world, path.device, path.gw
    topics = [f"eu868/gateway/{gw.id}/event/{e}" for e in ("up", "stats", "ack", "exec", "raw", "nonsense")] + [
        "eu868/gateway/0000000000000000/event/up", "eu868/gateway/x/event/up", f"eu868/gateway/{gw.id}/state/conn",
        f"eu868/gateway/{gw.id}/command/down", f"eu868/gateway/{gw.id}/command/config", f"eu868/gateway/{gw.id}/command/exec",
        f"application/{w.app}/device/{d.dev_eui}/command/down", f"application/{w.app}/device/{d.dev_eui}/command/x",
        f"application/x/device/{d.dev_eui}/command/down", f"application/{w.app}/device/y/command/down"]
    mqtt = lw.Mqtt(same.mosquitto.port)

    def dose(n):
        for i, payload in enumerate(random_payloads(rng, n)):
            mqtt.publish(topics[i % len(topics)], payload, qos=0 if i % 1000 < 999 else 1)
            if i % 10000 == 9999:
                path()

    dose(20000)
    rss = [p.rss_kb() for p in same.daemons]
    dose(80000)
    path()
    mqtt.close()
    for p, kb in zip(same.daemons, rss):
        assert p.rss_kb() < kb + SLACK_KB, p.name
    counted = same.ns.metrics()
    assert sum(v for k, v in counted.items() if "MALFORMED" in k) > 1000, counted
    assert w.queue(d) == []


# ---- REST

BODIES = ["", "{", "[]", "null", "7", '"x"', '{"a":', "\x00", "{" * 3000, '{"device":7}', '{"device":[]}', '{"tenant":{"name":{}}}',
          '{"gateway":{"location":"x"}}', '{"limit":1e400}', '{"x":"' + "y" * 100000 + '"}', "\ud800".encode("utf-8", "surrogatepass")]
TOKENS = ["", "x", "a.b.c", "." * 50, "A" * 5000, "eyJhbGciOiJub25lIn0.eyJhdWQiOiJjaGlycHN0YWNrIiwidHlwIjoidXNlciJ9."]


def calls(stack):
    """(method, path with something in place of its variables) of the published document."""
    doc = requests.get(f"http://127.0.0.1:{stack.http_port}/api/openapi.json", timeout=PATIENCE_S).json()
    for template, item in doc["paths"].items():
        for method in item:
            if method in ("get", "put", "post", "delete", "patch"):
                yield method.upper(), template


def filled(template, value):
    out = template
    while "{" in out:
        out = out[:out.index("{")] + value + out[out.index("}") + 1:]
    return out


def ask(stack, session, method, path, body, token):
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    r = session.request(method, f"http://127.0.0.1:{stack.http_port}{path}", data=body, headers=headers, timeout=PATIENCE_S, stream=True)
    code = r.status_code
    if r.headers.get("content-type", "").startswith("text/event-stream"):
        r.close()
        return code, {}
    assert r.headers.get("content-type", "").startswith("application/json"), (method, path, code, r.text[:200])
    answer = r.json()
    if code >= 400:
        assert set(answer) >= {"code", "message"}, (method, path, answer)
    return code, answer


def test_rest(same, path):
    """Every path of the OpenAPI document with wrong tokens, wrong bodies, wrong ids: 4xx with words, never 5xx (but 501)."""
    session = requests.Session()
    token, seen = same.rest.token, 0

    def dose():
        nonlocal seen
        for method, template in calls(same):
            plain = filled(template, "x")
            public = template in ("/api/internal/login", "/api/internal/settings") or "/login" in template
            for t in TOKENS + [None]:
                code, _ = ask(same, session, method, plain, "{}", t)
                assert code in ((400, 401, 404, 412, 501, 200) if public else (401, 400, 501)), (method, template, t, code)
                seen += 1
            for value in ("x", "00000000-0000-4000-8000-000000000000", "0000000000000000", "%00", "a" * 2000, "%ff%fe", "%2e%2e"):
                code, _ = ask(same, session, method, filled(template, value), "{}", token)
                assert code < 500 or code == 501, (method, template, value, code)
                seen += 1
            if method in ("POST", "PUT"):
                for body in BODIES:
                    data = body.encode() if isinstance(body, str) else body
                    code, answer = ask(same, session, method, plain, data, token)
                    assert 400 <= code < 500 or code == 501 or template.endswith(("/search", "/certificate", "-certificate")) and code == 200, (
                        method, template, body[:60], code, answer)
                    seen += 1

    dose()
    rss = same.app.rss_kb()
    dose()
    assert same.app.rss_kb() < rss + SLACK_KB
    assert seen > 2000
    path()


def test_http_itself(same, path):
    """What no HTTP client would send."""
    for request in (b"", b"\r\n\r\n", b"GET", b"GET /api/tenants\r\n\r\n", b"\x16\x03\x01\x02\x00\x01" + os.urandom(200),
                    b"GET / HTTP/9.9\r\n\r\n", b"POST /api/tenants HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                    b"POST /api/tenants HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
                    b"POST /api/tenants HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                    b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
                    b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(300)):
        for port in (same.http_port, same.grpc_port, same.ns_port, same.join_port, same.geo_port, same.ns.http_port):
            with socket.create_connection(("127.0.0.1", port), 5) as s:
                try:
                    s.sendall(request)
                    s.shutdown(socket.SHUT_WR)
                    s.settimeout(0.05)
                    assert b"root:" not in s.recv(4096)
                except OSError:
                    pass
    path()


def test_join_server(same, path):
    url = f"http://127.0.0.1:{same.join_port}/"
    for body in BODIES + ['{"MessageType":"JoinReq"}', '{"ProtocolVersion":"1.0","SenderID":"000000","ReceiverID":"00","TransactionID":-1,'
                          '"MessageType":"JoinReq","PHYPayload":"zz"}', '{"MessageType":"Nonsense","TransactionID":1}']:
        r = requests.post(url, data=body.encode() if isinstance(body, str) else body, timeout=PATIENCE_S)
        assert 200 <= r.status_code < 500
        if r.status_code == 200 and r.content:
            assert r.json()["Result"]["ResultCode"] != "Success"
    path()


# ---- configuration and start

@pytest.mark.parametrize("name", DAEMONS)
@pytest.mark.parametrize("text, wanted", [
    ("# a comment\nlog:\n  levle: info\n", r"3.*levle.*level"),
    ("mterics:\n  bind: 127.0.0.1:0\n", r"1.*mterics.*metrics"),
    ("log:\n\tlevel: info\n", r"2"),
    ("log:\n  level: shout\n", r"2.*shout|level"),
])
def test_misspelt_configuration(tmp_path, name, text, wanted):
    """The line, the wrong key and the nearest right one; the process does not start."""
    conf = tmp_path / "c.yaml"
    conf.write_text(text)
    for more in ([], ["--check"]):
        r = subprocess.run([build_dir() / "bin" / f"longwave-{name}", "-c", conf, *more], capture_output=True, text=True, timeout=PATIENCE_S,
                           cwd=tmp_path)
        out = r.stdout + r.stderr
        assert r.returncode not in (0, -6, -11) and re.search(wanted, out.replace(str(tmp_path), ""), re.S), out


def test_database_away_at_start(tmp_path):
    """PostgreSQL: the daemons wait, say so, and recover by themselves. SQLite: a folder that is not there is named."""
    s = Stack(tmp_path, start=False)
    try:
        if store() == "postgres":
            away_at_start(s)
        else:
            no_folder(s)
    finally:
        s.close()


def no_folder(s):
    for d in (s.ns, s.app):
        d.config_path.write_text(d.config_path.read_text().replace(f"sqlite://{s.tmp}/", f"sqlite://{s.tmp}/nowhere/"))
        d.start(wait=False)
        assert d.proc.wait(15) == 1
        assert "unable to open database file" in d.output() and "/nowhere/" in d.output()


def away_at_start(s):
    s.pg.stop()
    for d in s.daemons:
        d.start(wait=False)
    for d in (s.ns, s.app):
        d.wait_output("dependency down name=database|database")
        lw.wait_for(lambda: status(d) == 503, text=f"{d.name} says that it is not healthy")
    pids = [d.pid for d in s.daemons]
    s.pg.start()
    s.wait_healthy()
    assert [d.pid for d in s.daemons] == pids
    s.login()
    s.events = Events(s.mosquitto.port)
    w = World(s)
    gw, d = w.gateway(), w.device(otaa=False)
    w.send(d, gw, data=b"x")
    s.events.wait(d.dev_eui, "up")
    w.close()


def status(d):
    try:
        return d.health()[0]
    except OSError:
        return None
