"""App- and network-server agree at last, whatever is killed in between: a change is seen only when both have it."""

import concurrent.futures
import sqlite3
import time

import grpc
import pytest

import lw
from api.conftest import PASSWORD, Stack
from lw.pb import message


@pytest.fixture
def own(tmp_path):
    s = Stack(tmp_path)
    yield s
    s.kill()


def tenant(admin):
    t = admin.post("/api/tenants", {"tenant": {"name": "T", "canHaveGateways": True}})["id"]
    app = admin.post("/api/applications", {"application": {"name": "A", "tenantId": t}})["id"]
    p = admin.post("/api/device-profiles", {"deviceProfile": {"name": "p", "tenantId": t, "region": "EU868", "macVersion": "LORAWAN_1_0_3"}})["id"]
    return t, app, p


def device(app, p, eui, **more):
    return {"device": {"devEui": eui, "name": "d", "applicationId": app, "deviceProfileId": p, **more}}


def ns_call(s, method, request, answer):
    with grpc.insecure_channel(f"127.0.0.1:{s.ns_port}") as c:
        stub = c.unary_unary(f"/longwave.ns.v1.NetworkServer/{method}", request_serializer=lambda m: m.SerializeToString(),
                             response_deserializer=message(answer).FromString)
        end = time.monotonic() + lw.procs.PATIENCE_S
        while True:
            try:
                return stub(request, timeout=10)
            except grpc.RpcError as e:  # it was just started again
                if e.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > end:
                    raise
                time.sleep(0.02)


def ns_knows(s, eui):
    """The network-server hands out sessions to devices that it knows only."""
    session = {"dev_eui": eui, "dev_addr": "00000001", "f_nwk_s_int_key": b"\1" * 16, "s_nwk_s_int_key": b"\1" * 16,
               "nwk_s_enc_key": b"\1" * 16, "mac_version": 3}
    try:
        ns_call(s, "Activate", message("longwave.ns.v1.ActivateRequest")(session=session), "google.protobuf.Empty")
        return True
    except grpc.RpcError as e:
        if e.code() == grpc.StatusCode.NOT_FOUND:
            return False
        raise


def test_nothing_half_done_while_the_network_server_is_away(own):
    admin = own.admin
    t, app, p = tenant(admin)
    admin.post("/api/devices", device(app, p, "0000000000000001"))
    own.ns.kill()
    for method, path, body in (("POST", "/api/devices", device(app, p, "0000000000000002")),
                               ("PUT", "/api/devices/0000000000000001", device(app, p, "0000000000000001", isDisabled=True)),
                               ("POST", "/api/gateways", {"gateway": {"gatewayId": "0000000000000003", "name": "g", "tenantId": t}}),
                               ("POST", "/api/device-profiles", {"deviceProfile": {"name": "q", "tenantId": t}})):
        status, answer = admin.request(method, path, body)
        assert (path, status, answer["code"]) == (path, 503, 14)
    admin.call("GET", "/api/devices/0000000000000002", expect=404)
    assert admin.get("/api/devices/0000000000000001")["device"]["isDisabled"] is False
    # A delete is true at once; the network-server hears of it when it is back.
    admin.delete("/api/devices/0000000000000001")
    own.ns.start()
    lw.wait_for(lambda: not ns_knows(own, "0000000000000001"), text="the delete at the network-server")
    lw.wait_for(lambda: admin.request("POST", "/api/devices", device(app, p, "0000000000000002"))[0] == 200, step=0.1,
                text="the network-server is used again")
    assert ns_knows(own, "0000000000000002")


def test_kill_in_the_middle(own):
    """kill -9 of the app-server under creates: afterwards a device is at both or at none."""
    t, app, p = tenant(own.admin)
    euis = [f"{0xAA00000000000000 + i:016x}" for i in range(400)]
    acknowledged = set()

    def create(eui):
        try:
            if own.admin.request("POST", "/api/devices", device(app, p, eui))[0] == 200:
                acknowledged.add(eui)
        except OSError:
            pass

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(create, e) for e in euis]
        lw.wait_for(lambda: len(acknowledged) >= 100, 30, 0.001)
        own.app.kill()
        for j in jobs:
            j.cancel()
    assert len(acknowledged) < len(euis)
    own.app.start()
    own.app.wait_output("database is ready")
    lw.wait_for(lambda: own.app.health()[0] == 200)
    admin = own.rest.login("admin", PASSWORD)
    if not own.pg:
        db = sqlite3.connect(f"file:{own.tmp}/app.db?mode=ro", uri=True)
        lw.wait_for(lambda: db.execute("SELECT count(*) FROM ns_intent").fetchone() == (0,), text="no intent is left")
    else:
        time.sleep(3)
    here = {d["devEui"] for d in admin.get(f"/api/devices?limit=1000&applicationId={app}")["result"]}
    assert acknowledged <= here
    assert here == {e for e in euis if ns_knows(own, e)}


def test_many_at_once(own):
    """Concurrent creates of the same device: one succeeds, the others are told, both sides have it once."""
    t, app, p = tenant(own.admin)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for i in range(5):
            eui = f"{0xBB00000000000000 + i:016x}"
            got = sorted(j.result()[0] for j in [pool.submit(own.admin.request, "POST", "/api/devices", device(app, p, eui)) for _ in range(12)])
            assert got == [200] + [409] * 11
            assert ns_knows(own, eui)
