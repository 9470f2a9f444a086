"""Registers the gateways and devices of a simulation through the REST API, as a client would. Safe to run again."""

import http.client
import json
import subprocess
import threading
from urllib.parse import quote, urlencode

from machine import Failed


class Api:
    """One kept connection to the REST API. Not for several threads at once."""

    def __init__(self, host, port, token=None):
        self.host, self.port, self.token = host, port, token
        self.conn = http.client.HTTPConnection(host, port, timeout=30)

    def call(self, method, path, body=None, ok=(200,), **query):
        if query:
            path += "?" + urlencode(query)
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = "Bearer " + self.token
        data = json.dumps(body) if body is not None else None
        try:
            self.conn.request(method, path, data, headers)
            answer = self.conn.getresponse()
            text = answer.read()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.conn.close()
            self.conn.request(method, path, data, headers)
            answer = self.conn.getresponse()
            text = answer.read()
        if answer.status not in ok:
            raise Failed(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return answer.status, json.loads(text) if text else {}

    def login(self, email, password):
        self.token = self.call("POST", "/api/internal/login", {"email": email, "password": password})[1]["jwt"]

    def clone(self):
        return Api(self.host, self.port, self.token)


def _find(api, path, name, **query):
    for row in api.call("GET", path, limit=1000, search=name, **query)[1]["result"]:
        if row["name"] == name:
            return row["id"]
    return None


def _ensure(api, path, member, wanted, **query):
    found = _find(api, path, wanted["name"], **query)
    return found or api.call("POST", path, {member: wanted})[1]["id"]


def _parallel(api, rows, work, threads=6):
    """Calls work(connection, row) for all rows over several connections; the first error ends it."""
    errors, it, lock = [], iter(rows), threading.Lock()

    def loop():
        mine = api.clone()
        while not errors:
            with lock:
                row = next(it, None)
            if row is None:
                return
            try:
                work(mine, row)
            except Exception as e:  # noqa: BLE001 - handed to the caller below
                errors.append(e)

    pool = [threading.Thread(target=loop, daemon=True) for _ in range(threads)]
    for t in pool:
        t.start()
    for t in pool:
        t.join()
    if errors:
        raise errors[0]


def _device(api, row, app_id, profile_id, version, name, put_session):
    eui = row["device"]
    # 409: it is there already, from the time before.
    api.call("POST", "/api/devices", {"device": {
        "devEui": eui, "joinEui": row["joinEui"], "name": name(eui), "applicationId": app_id, "deviceProfileId": profile_id,
        "description": "simulated"}}, ok=(200, 409))
    if "devAddr" in row:
        if put_session(api, eui):
            api.call("POST", f"/api/devices/{eui}/activate", {"deviceActivation": {
                "devEui": eui, "devAddr": row["devAddr"], "appSKey": row["appSKey"], "nwkSEncKey": row["nwkSEncKey"],
                "sNwkSIntKey": row["sNwkSIntKey"], "fNwkSIntKey": row["fNwkSIntKey"]}})
        return
    keys = {"devEui": eui, "nwkKey": row["nwkKey"]}
    if version == "1.1.0":
        keys["appKey"] = row["appKey"]
    api.call("POST", f"/api/devices/{eui}/keys", {"deviceKeys": keys}, ok=(200, 409))


def plan(sim, argv):
    out = subprocess.run([str(sim), "--print-plan", *argv], capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    return [r for r in rows if "gateway" in r], [r for r in rows if "device" in r]


def provision(api, sim, sim_argv, application="demo", region="EU868", version="1.0.3", position=False):
    """Tenant, profile, application, gateways and devices of the simulation that sim_argv describes."""
    gateways, devices = plan(sim, sim_argv)
    tenant = _ensure(api, "/api/tenants", "tenant", {"name": "Simulation", "canHaveGateways": True})
    mac = "LORAWAN_" + version.replace(".", "_")
    abp = bool(devices) and "devAddr" in devices[0]
    profile = _ensure(api, "/api/device-profiles", "deviceProfile", {
        "name": f"{region} {version} {'ABP' if abp else 'OTAA'}", "tenantId": tenant, "region": region, "macVersion": mac,
        "regParamsRevision": "A" if version < "1.0.3" or version == "1.1.0" else "RP002_1_0_3", "supportsOtaa": not abp,
        "adrAlgorithmId": "default", "uplinkInterval": 60}, tenantId=tenant)
    app = _ensure(api, "/api/applications", "application", {"name": application, "tenantId": tenant}, tenantId=tenant)

    def gateway(mine, row):
        mine.call("POST", "/api/gateways", {"gateway": {
            "gatewayId": row["gateway"], "name": f"gateway {row['gateway'][-3:]}", "tenantId": tenant, "statsInterval": 30,
            "location": {"latitude": row["latitude"], "longitude": row["longitude"], "altitude": 12}}}, ok=(200, 409))

    def activated(mine, eui):
        return mine.call("GET", f"/api/devices/{quote(eui)}/activation")[1].get("deviceActivation") is None

    _parallel(api, gateways, gateway)
    _parallel(api, devices, lambda mine, row: _device(mine, row, app, profile, version, lambda e: f"sensor {e[-4:]}", activated))
    return {"tenant": tenant, "application": app, "profile": profile, "devices": devices, "gateways": gateways}
