"""All of Longwave on loopback: broker, Redis, database, the four daemons; and what a test needs to talk to them.

$LONGWAVE_STORE: sqlite (default) or postgres. Each process can be killed and started again on the same ports."""

import base64
import itertools
import json
import os
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import lw
from lw import device as lorawan
from lw.gateway import Gateway, payload
from lw.mqtt import Mqtt
from lw.procs import PATIENCE_S, Daemon, free_port, start_mosquitto, wait_for
from lw.rest import Rest
from lw.rpc import Rpc
from lw.servers import Postgres, Redis

PASSWORD = "an-e2e-password"
_number = itertools.count(1)


def store():
    name = os.environ.get("LONGWAVE_STORE", "sqlite")
    assert name in ("sqlite", "postgres"), f"LONGWAVE_STORE={name}"
    return name


class Events:
    """Everything that applications are told, by device, in order of arrival."""

    def __init__(self, port):
        self._changed = threading.Condition()
        self._all = []
        # With a name, so that the broker keeps for it what comes while the connection is away.
        self._client = Mqtt(port, "application/+/device/+/event/+", client_id="e2e-application", on_message=self._on_message)

    def _on_message(self, m):
        _, app, _, eui, _, kind = m.topic.split("/")
        with self._changed:
            self._all.append(SimpleNamespace(app=app, dev_eui=eui, kind=kind, raw=m.payload, retain=m.retain, dup=m.dup))
            self._changed.notify_all()

    def of(self, dev_eui, *kinds):
        with self._changed:
            return [e for e in self._all if e.dev_eui == dev_eui and (not kinds or e.kind in kinds)]

    def all(self, *kinds):
        with self._changed:
            return [e for e in self._all if not kinds or e.kind in kinds]

    def wait(self, dev_eui, kind, n=1, timeout=PATIENCE_S):
        """The n-th event of this kind of a device, decoded."""
        def found():
            return len(self.of(dev_eui, kind)) >= n

        with self._changed:
            if not self._changed.wait_for(found, timeout):
                raise AssertionError(f"no event {kind} #{n} of {dev_eui} within {timeout} s; there are "
                                     f"{[(e.kind, e.raw[:300]) for e in self.of(dev_eui)]}")
        return json.loads(self.of(dev_eui, kind)[n - 1].raw)

    def reconnected(self):
        self._client.wait_subscribed()

    def close(self):
        self._client.close()


class Stack:
    """`config`: settings per daemon that differ, {"network-server": {"network": {…}}}. `replicas`: network-servers and app-servers
    (`self.nss`, `self.apps`; `self.ns` and `self.app` are the first of each); more than one needs PostgreSQL, which is taken then
    whatever $LONGWAVE_STORE says."""

    def __init__(self, tmp, start=True, replicas=1, **config):
        self.tmp, self.config, self.parts, self.gateways, self.replicas = Path(tmp), config, [], [], replicas
        self.pg = self.events = None
        try:
            self._make()
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    def _make(self):
        tmp = self.tmp
        if store() == "postgres" or self.replicas > 1:
            self.pg = Postgres().start()
        self.mosquitto = start_mosquitto(tmp)
        self.parts.append(self.mosquitto)
        self.redis = Redis(tmp)
        self.parts.append(self.redis)
        self.redis.start()
        each = range(self.replicas)
        self.ns_ports, self.http_ports, self.grpc_ports, self.join_ports = ([free_port() for _ in each] for _ in range(4))
        self.ns_port, self.http_port, self.grpc_port, self.join_port = (
            p[0] for p in (self.ns_ports, self.http_ports, self.grpc_ports, self.join_ports))
        self.geo_port = free_port()
        self.udp = {r: free_port(socket.SOCK_DGRAM) for r in ("eu868", "us915_0")}
        mqtt, redis = {"server": self.mosquitto.url}, {"url": self.redis.url}
        self.geo = self._daemon("geo-server", {"bind": f"127.0.0.1:{self.geo_port}"})
        self.nss = [self._daemon("network-server", {
            "replica": f"ns{i + 1}", "replica_lease": "2s", "state_dir": str(tmp / f"ns-state{i or ''}"), "database": {"dsn": self.dsn("ns")},
            "grpc": {"bind": f"127.0.0.1:{self.ns_ports[i]}"}, "mqtt": dict(mqtt), "redis": redis,
            "join_server": {"url": ",".join(f"http://127.0.0.1:{p}" for p in self._first(self.join_ports, i))},
            "geo": {"address": f"127.0.0.1:{self.geo_port}"}}, i) for i in each]
        self.apps = [self._daemon("app-server", {
            "replica_lease": "2s", "state_dir": str(tmp / f"app-state{i or ''}"), "database": {"dsn": self.dsn("app")},
            "http": {"bind": f"127.0.0.1:{self.http_ports[i]}"}, "grpc": {"bind": f"127.0.0.1:{self.grpc_ports[i]}"},
            "join": {"bind": f"127.0.0.1:{self.join_ports[i]}"},
            "network_server": {"address": ",".join(f"127.0.0.1:{p}" for p in self._first(self.ns_ports, i))},
            "mqtt": dict(mqtt, client_id=f"longwave-app-server{i + 1 if i else ''}"), "redis": redis,
            "admin_password": PASSWORD}, i) for i in each]
        self.ns, self.app = self.nss[0], self.apps[0]
        self.bridge = self._daemon("gateway-bridge", {
            "state_dir": str(tmp / "bridge-state"), "mqtt": mqtt,
            "listeners": [{"bind": f"127.0.0.1:{p}", "topic_prefix": r} for r, p in self.udp.items()]})
        self.daemons = [self.geo, *self.nss, *self.apps, self.bridge]

    @staticmethod
    def _first(ports, i):
        """All of them, the i-th first."""
        return ports[i:] + ports[:i]

    def _daemon(self, name, config, i=0):
        """The i-th replica keeps its files in a folder of its own."""
        for key, value in self.config.get(name, {}).items():
            config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
        d = Daemon(name, config, self.tmp / f"replica{i + 1}" if i else self.tmp)
        self.parts.append(d)
        return d

    def start(self):
        for d in self.daemons:
            d.start(wait=False)
        self.wait_healthy()
        self.login()
        self.events = Events(self.mosquitto.port)

    def login(self):
        self.rests = [Rest(f"http://127.0.0.1:{p}").login("admin", PASSWORD) for p in self.http_ports]
        self.rest = self.rests[0]
        self.api = Rpc(self.grpc_port, self.rest.token)
        self.ns_api = Rpc(self.ns_port)

    def dsn(self, schema):
        return self.pg.dsn(schema) if self.pg else f"sqlite://{self.tmp}/{schema}.db"

    def healthy(self, d):
        if not d.running():
            raise AssertionError(f"{d.name} ended with {d.proc.returncode}:\n{d.output()[-4000:]}")
        try:
            return d.health()[0] == 200
        except OSError:
            return False

    def wait_healthy(self, timeout=PATIENCE_S):
        for d in self.daemons:
            wait_for(lambda: self.healthy(d), timeout, text=f"health of {d.name}")

    def restart(self, d, wait=True):
        """kill -9, and up again, and found again by those who ask it."""
        d.kill()
        d.start(wait=False)
        for x in (d, *(x for x in self.daemons if x.running())) if wait else ():
            wait_for(lambda: self.healthy(x), text=f"health of {x.name}")

    def logs(self, lines=40):
        for p in (*self.parts, *([self.pg] if self.pg else [])):
            try:
                text = p.log.read_text(errors="replace")
            except OSError:
                continue
            yield getattr(p, "name", p.log.name), "\n".join(text.splitlines()[-lines:])

    def close(self):
        for g in self.gateways:
            g.close()
        for c in (self.events, getattr(self, "api", None), getattr(self, "ns_api", None)):
            if c:
                c.close()
        for p in reversed(self.parts):
            p.kill()
        if self.pg:
            self.pg.remove()

    # ---- what the tests are about

    def frames(self, **of):
        """The network-server's frame log: frames(gateway_id=…) or frames(dev_eui=…)."""
        return list(self.ns_api.call("longwave.ns.v1.NetworkServer/ListFrames", limit=500, **of).frames)

    def wait_frame(self, reason, wanted=lambda f: True, timeout=PATIENCE_S, **of):
        """The frame whose reason has this name."""
        value = lw.message("longwave.ns.v1.Frame").DESCRIPTOR.fields_by_name["reason"].enum_type.values_by_name[reason].number

        def found():
            return next((f for f in self.frames(**of) if f.reason == value and wanted(f)), None)

        return wait_for(found, timeout, step=0.05, text=f"a frame with reason {reason} of {of}")


class World:
    """A tenant of its own, an application, profiles by need, gateways and devices that nobody else has."""

    def __init__(self, stack, tags=None):
        self.stack, self.rest, self.n = stack, stack.rest, next(_number)
        self.tenant = self.rest.post("/api/tenants", {"tenant": {"name": f"tenant {self.n}", "canHaveGateways": True}})["id"]
        self.app = self.rest.post("/api/applications", {"application": {
            "name": f"application {self.n}", "tenantId": self.tenant, "tags": tags or {}}})["id"]
        self.profiles, self.gateways = {}, []

    def close(self):
        for g in self.gateways:
            g.close()

    def profile(self, version="1.0.3", region="EU868", otaa=True, **more):
        key = json.dumps((version, region, otaa, more))
        if key not in self.profiles:
            self.profiles[key] = self.rest.post("/api/device-profiles", {"deviceProfile": {
                "name": f"profile {len(self.profiles)}", "tenantId": self.tenant, "region": region,
                "macVersion": "LORAWAN_" + version.replace(".", "_"),
                "regParamsRevision": "RP002_1_0_3" if version >= "1.0.3" else "A", "adrAlgorithmId": "default",
                "supportsOtaa": otaa, "uplinkInterval": 60, **more}})["id"]
        return self.profiles[key]

    def gateway(self, region="eu868", position=(52.0, 4.0, 10.0), register=True):
        eui = f"00160000{next(_number):08x}"
        if register:
            self.rest.post("/api/gateways", {"gateway": {
                "gatewayId": eui, "name": f"gateway {eui[-4:]}", "tenantId": self.tenant, "statsInterval": 30,
                "location": dict(zip(("latitude", "longitude", "altitude"), position))}})
        g = Gateway(eui, self.stack.udp[region], position)
        self.gateways.append(g)
        return g

    def device(self, version="1.0.3", region="EU868", otaa=True, profile=None, register=True, tags=None, dev_addr=None, **profile_members):
        """A device with keys (OTAA) or a session (ABP); not joined yet."""
        eui = f"70b3d57e{next(_number):08x}"
        d = lorawan.Device(eui, version=version, region=region, nwk_key=os.urandom(16), app_key=os.urandom(16))
        if not register:
            return d
        profile = profile or self.profile(version, region, otaa, **profile_members)
        self.rest.post("/api/devices", {"device": {
            "devEui": eui, "joinEui": d.join_eui, "name": f"device {eui[-4:]}", "applicationId": self.app, "deviceProfileId": profile,
            "tags": tags or {}}})
        if otaa:
            keys = {"devEui": eui, "nwkKey": d.nwk_key.hex()}
            if d.is_11:
                keys["appKey"] = d.app_key.hex()
            self.rest.post(f"/api/devices/{eui}/keys", {"deviceKeys": keys})
        else:
            self.activate(d, dev_addr)
        return d

    def activate(self, d, dev_addr=None, register=True):
        """ABP: the same session on both sides."""
        keys = [os.urandom(16) for _ in range(4)] if d.is_11 else [os.urandom(16)] * 3 + [os.urandom(16)]
        d.activate(dev_addr or 0x01000000 | next(_number), *keys)
        if not register:
            return
        self.rest.post(f"/api/devices/{d.dev_eui}/activate", {"deviceActivation": {
            "devEui": d.dev_eui, "devAddr": f"{d.dev_addr:08x}", "fNwkSIntKey": d.f_nwk_s_int.hex(), "sNwkSIntKey": d.s_nwk_s_int.hex(),
            "nwkSEncKey": d.nwk_s_enc.hex(), "appSKey": d.app_s_key.hex(), "fCntUp": 0, "nFCntDown": 0, "aFCntDown": 0}})

    def join(self, d, *gateways):
        """Over the air; returns the txpk of the join-accept."""
        phy = d.join_request()
        for g in gateways:
            g.uplink(phy, d.hz, d.datr)
        # Any of them may be asked to answer.
        offers = wait_for(lambda: [o for g in gateways for o in g.offers()], text="a join-accept")
        d.accept(payload(offers[-1][0]))
        return offers[-1][0]

    def send(self, d, *gateways, **frame):
        """An uplink heard by these gateways; returns (PHYPayload, rxpk of the first)."""
        phy = d.uplink(**frame)
        rx = [g.uplink(phy, d.hz, d.datr, wait=False) for g in gateways]
        return phy, rx[0]

    def queue(self, d):
        return self.rest.get(f"/api/devices/{d.dev_eui}/queue")["result"]

    def enqueue(self, d, data, f_port=10, confirmed=False, **more):
        return self.rest.post(f"/api/devices/{d.dev_eui}/queue", {"queueItem": {
            "devEui": d.dev_eui, "fPort": f_port, "confirmed": confirmed, "data": base64.b64encode(data).decode(), **more}})["id"]
