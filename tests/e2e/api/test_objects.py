"""What objects do beyond the recorded calls: filters, search, order, limits, read-back, deletes."""

import concurrent.futures
import re
import time


def put_device(w, eui, name="d", **more):
    w.admin.post("/api/devices", {"device": {"devEui": eui, "name": name, "applicationId": w.app, "deviceProfileId": w.otaa, **more}})


def names(answer):
    return [i["name"] for i in answer["result"]]


def test_device_list(world, new_eui):
    euis = [new_eui() for _ in range(4)]
    put_device(world, euis[0], "Zebra", tags={"room": "1", "Color": "red"})
    put_device(world, euis[1], "ant", tags={"room": "1", "x": 'say "hi", ok'})
    put_device(world, euis[2], "100% wool_", tags={"room": "2"})
    put_device(world, euis[3], "bear", deviceProfileId=world.abp)
    base = f"/api/devices?applicationId={world.app}"
    get = lambda q: world.admin.get(f"{base}&{q}")  # noqa: E731
    assert get("") == {"totalCount": 4, "result": []}
    assert sorted(names(get("limit=10"))) == sorted(["Zebra", "ant", "100% wool_", "bear"])
    assert [d["devEui"] for d in get("limit=2&offset=1&orderBy=DEV_EUI")["result"]] == euis[1:3]
    assert [d["devEui"] for d in get("limit=9&orderBy=DEV_EUI&orderByDesc=true")["result"]] == euis[::-1]
    assert get("limit=9&orderBy=DEVICE_PROFILE_NAME")["result"][0]["name"] == "bear"
    assert get("offset=4&limit=10") == {"totalCount": 4, "result": []}
    # Search: any case, wildcards are plain characters, EUIs too.
    assert names(get("limit=9&search=ZEB")) == ["Zebra"]
    assert names(get("limit=9&search=%25")) == ["100% wool_"]
    assert names(get("limit=9&search=l_")) == ["100% wool_"]
    assert names(get(f"limit=9&search={euis[3][4:].upper()}")) == ["bear"]
    # Tags: all pairs, exactly.
    assert sorted(names(get("limit=9&tags[room]=1"))) == ["Zebra", "ant"]
    assert names(get("limit=9&tags[room]=1&tags[Color]=red")) == ["Zebra"]
    assert names(get("limit=9&tags[room]=1&tags[color]=red")) == []
    assert names(get("limit=9&tags[room]=2&tags[Color]=red")) == []
    assert names(get("limit=9&tags[oom]=1")) == []
    assert names(get("limit=9&tags[x]=say%20%22hi%22,%20ok")) == ["ant"]
    assert names(get(f"limit=9&deviceProfileId={world.abp}")) == ["bear"]
    assert world.admin.get(f"/api/applications/{world.app}/device-tags")["result"] == [
        {"key": "Color", "values": ["red"]}, {"key": "room", "values": ["1", "2"]}, {"key": "x", "values": ['say "hi", ok']}]
    assert names(world.admin.get(f"/api/applications/{world.app}/device-profiles")) == ["abp", "otaa"]
    summary = world.admin.get(f"/api/internal/devices-summary?tenantId={world.tenant}")
    assert summary == {"activeCount": 0, "inactiveCount": 0, "drCount": {}, "neverSeenCount": 4}


def test_quota(admin, new_eui):
    t = admin.post("/api/tenants", {"tenant": {"name": "small", "maxDeviceCount": 1, "maxGatewayCount": 1, "canHaveGateways": True}})["id"]
    app = admin.post("/api/applications", {"application": {"name": "A", "tenantId": t}})["id"]
    p = admin.post("/api/device-profiles", {"deviceProfile": {"name": "p", "tenantId": t, "supportsOtaa": True}})["id"]
    device = lambda: {"device": {"devEui": new_eui(), "name": "d", "applicationId": app, "deviceProfileId": p}}  # noqa: E731
    gateway = lambda: {"gateway": {"gatewayId": new_eui(), "name": "g", "tenantId": t}}  # noqa: E731
    for path, body in (("/api/devices", device), ("/api/gateways", gateway)):
        admin.post(path, body())
        status, answer = admin.request("POST", path, body())
        assert (status, answer["code"]) == (400, 3) and "Not allowed" in answer["message"]
    admin.put(f"/api/tenants/{t}", {"tenant": {"name": "small", "canHaveGateways": False}})
    admin.call("POST", "/api/gateways", gateway(), 400)
    admin.post("/api/devices", device())


def test_quota_under_concurrency(admin, new_eui):
    t = admin.post("/api/tenants", {"tenant": {"name": "small", "maxDeviceCount": 3}})["id"]
    app = admin.post("/api/applications", {"application": {"name": "A", "tenantId": t}})["id"]
    p = admin.post("/api/device-profiles", {"deviceProfile": {"name": "p", "tenantId": t, "supportsOtaa": True}})["id"]
    bodies = [{"device": {"devEui": new_eui(), "name": "d", "applicationId": app, "deviceProfileId": p}} for _ in range(20)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        got = sorted(pool.map(lambda b: admin.request("POST", "/api/devices", b)[0], bodies))
    assert got == [200] * 3 + [400] * 17
    assert admin.get(f"/api/devices?applicationId={app}")["totalCount"] == 3


def test_profile_in_use_stays(world, new_eui):
    eui = new_eui()
    put_device(world, eui)
    status, answer = world.admin.request("DELETE", f"/api/device-profiles/{world.otaa}")
    assert (status, answer["code"]) == (400, 9) and "1 device" in answer["message"]
    world.admin.get(f"/api/devices/{eui}")
    world.admin.delete(f"/api/devices/{eui}")
    world.admin.delete(f"/api/device-profiles/{world.otaa}")


def test_another_tenants_parents(world, admin, new_eui):
    t = admin.post("/api/tenants", {"tenant": {"name": "other"}})["id"]
    app = admin.post("/api/applications", {"application": {"name": "A", "tenantId": t}})["id"]
    p = admin.post("/api/device-profiles", {"deviceProfile": {"name": "p", "tenantId": t, "supportsOtaa": True}})["id"]
    eui = new_eui()
    body = {"devEui": eui, "name": "d", "applicationId": world.app, "deviceProfileId": p}
    admin.call("POST", "/api/devices", {"device": body}, 404)
    put_device(world, eui)
    admin.call("PUT", f"/api/devices/{eui}", {"device": body}, 404)
    admin.call("PUT", f"/api/devices/{eui}", {"device": {**body, "applicationId": app, "deviceProfileId": world.otaa}}, 404)
    assert admin.get(f"/api/devices/{eui}")["device"]["applicationId"] == world.app


def test_deletes_reach_everything(admin, world, new_eui):
    euis = [new_eui() for _ in range(5)]
    gw = new_eui()
    for e in euis:
        put_device(world, e)
    admin.post(f"/api/devices/{euis[0]}/keys", {"deviceKeys": {"nwkKey": "00" * 16}})
    admin.post("/api/gateways", {"gateway": {"gatewayId": gw, "name": "g", "tenantId": world.tenant}})
    admin.delete(f"/api/tenants/{world.tenant}")
    for path in [f"/api/devices/{e}" for e in euis] + [f"/api/gateways/{gw}", f"/api/applications/{world.app}",
                                                     f"/api/device-profiles/{world.otaa}"]:
        admin.call("GET", path, expect=404)


def test_keys(world, new_eui):
    eui = new_eui().upper()
    put_device(world, eui)
    path = f"/api/devices/{eui}/keys"
    world.admin.call("PUT", path, {"deviceKeys": {"nwkKey": "01" * 16}}, 404)
    world.admin.call("DELETE", f"/api/devices/{eui}/dev-nonces", expect=404)
    world.admin.post(path, {"deviceKeys": {"nwkKey": "AB" * 16, "genAppKey": "02" * 16}})
    world.admin.call("POST", path, {"deviceKeys": {"nwkKey": "01" * 16}}, 409)
    assert world.admin.get(path)["deviceKeys"] == {"devEui": eui.lower(), "nwkKey": "ab" * 16, "appKey": "00" * 16, "genAppKey": "02" * 16}
    world.admin.delete(f"/api/devices/{eui}/dev-nonces")
    world.admin.delete(path)
    world.admin.call("GET", path, expect=404)


ACTIVATION = {"devAddr": "01020304", "appSKey": "01" * 16, "nwkSEncKey": "02" * 16, "sNwkSIntKey": "03" * 16, "fNwkSIntKey": "04" * 16,
              "fCntUp": 10, "nFCntDown": 5}


def test_activation_and_queue(world, new_eui):
    eui, admin = new_eui(), world.admin
    put_device(world, eui, deviceProfileId=world.abp)
    path = f"/api/devices/{eui}"
    # A device that is not active may have a queue.
    first = admin.post(f"{path}/queue", {"queueItem": {"fPort": 1, "data": "AA=="}})["id"]
    assert [i["data"] for i in admin.get(f"{path}/queue")["result"]] == ["AA=="]
    for bad in ("devAddr", "appSKey", "nwkSEncKey", "sNwkSIntKey", "fNwkSIntKey"):
        admin.call("POST", f"{path}/activate", {"deviceActivation": {**ACTIVATION, bad: "01"}}, 400)
    admin.post(f"{path}/activate", {"deviceActivation": ACTIVATION})
    assert admin.get(f"{path}/activation")["deviceActivation"] == {"devEui": eui, **ACTIVATION, "aFCntDown": 0}
    admin.post(f"{path}/activate", {"deviceActivation": {**ACTIVATION, "appSKey": "0a" * 16, "nFCntDown": 7}})
    assert admin.get(f"{path}/activation")["deviceActivation"]["appSKey"] == "0a" * 16
    admin.delete(f"{path}/queue")
    a = admin.post(f"{path}/queue", {"queueItem": {"fPort": 10, "data": "AQID", "confirmed": True}})["id"]
    b = admin.post(f"{path}/queue", {"queueItem": {"fPort": 11, "data": "", "id": first}})["id"]
    assert b not in (a, first)
    c = admin.post(f"{path}/queue", {"queueItem": {"fPort": 12, "data": "BAU=", "isEncrypted": True, "fCntDown": 40}})["id"]
    queue = admin.get(f"{path}/queue")
    assert queue["totalCount"] == 3
    assert [(i["id"], i["fPort"], i["data"], i["confirmed"], i["isEncrypted"], i["fCntDown"]) for i in queue["result"]] == [
        (a, 10, "AQID", True, False, 0), (b, 11, "", False, False, 0), (c, 12, "BAU=", False, True, 40)]
    d = admin.post(f"{path}/queue", {"queueItem": {"fPort": 13, "data": "Bg=="}, "flushQueue": True})["id"]
    assert [i["id"] for i in admin.get(f"{path}/queue")["result"]] == [d]
    for port in (0, 256, 257):
        admin.call("POST", f"{path}/queue", {"queueItem": {"fPort": port, "data": ""}}, 400)
    admin.delete(f"{path}/activation")
    assert admin.get(f"{path}/activation") == {"deviceActivation": None, "joinServerContext": None}


def test_gateway(world, new_eui):
    gw, admin = new_eui(), world.admin
    admin.post("/api/gateways", {"gateway": {"gatewayId": gw.upper(), "name": "Roof", "tenantId": world.tenant, "statsInterval": 30,
                                             "location": {"latitude": 1.5, "source": "GPS", "accuracy": 3}}})
    got = admin.get(f"/api/gateways/{gw}")
    assert got["gateway"]["location"] == {"latitude": 1.5, "longitude": 0, "altitude": 0, "source": "UNKNOWN", "accuracy": 0}
    assert got["gateway"]["downlinkPriority"] == 10 and got["lastSeenAt"] is None
    admin.call("POST", "/api/gateways", {"gateway": {"gatewayId": new_eui(), "name": "g", "tenantId": world.tenant,
                                                     "location": {"latitude": 91}}}, 400)
    listed = admin.get(f"/api/gateways?limit=5&tenantId={world.tenant}&search=roo")
    assert [g["state"] for g in listed["result"]] == ["NEVER_SEEN"]
    assert admin.get(f"/api/internal/gateways-summary?tenantId={world.tenant}") == {
        "onlineCount": 0, "offlineCount": 0, "neverSeenCount": 1}
    admin.call("POST", f"/api/gateways/{gw}/generate-certificate", {}, 400)


def test_global_search(world, new_eui):
    eui, admin = new_eui(), world.admin
    put_device(world, eui, "thermometer", tags={"floor": "7"})
    find = lambda q, **kw: admin.post("/api/internal/search", {"search": q, "limit": 10, **kw})["result"]  # noqa: E731
    for q in ("THERMO", eui[6:], "floor:7"):
        hit = [r for r in find(q) if r["deviceDevEui"] == eui]
        assert len(hit) == 1 and hit[0]["kind"] == "device" and hit[0]["applicationId"] == world.app
    scores = [r["score"] for r in find("T")]
    assert scores == sorted(scores, reverse=True)
    assert find("thermometer", offset=1) == []
    admin.call("POST", "/api/internal/search", {"search": "x", "limit": -1}, 400)


def test_prefix_overlap(admin):
    t = admin.post("/api/tenants", {"tenant": {"name": "P", "devAddrPrefixes": ["26000000/8"]}})["id"]
    find = lambda p: [r["id"] for r in admin.get(f"/api/tenants/by-devaddr-prefix-overlap?devAddrPrefix={p}")["result"]]  # noqa: E731
    assert find("26010000/16") == [t] and find("20000000/4") == [t] and find("27000000/8") == []
    admin.call("POST", "/api/tenants", {"tenant": {"name": "P", "devAddrPrefixes": ["26/8"]}}, 400)


def test_bad_input(stack, admin, world):
    cases = [("POST", "/api/tenants", "{"), ("POST", "/api/tenants", "[]"), ("POST", "/api/tenants", '{"tenant":{"name":"\ud800"}}'),
             ("POST", "/api/tenants", '{"tenant":' * 200), ("PUT", f"/api/tenants/{world.tenant}", "{}x"),
             ("GET", "/api/devices?limit=x", None), ("GET", "/api/tenants?limit=-1", None)]
    for method, path, text in cases:
        data = text.encode("utf-8", "surrogatepass") if text is not None else None
        status, answer = admin.request(method, path, text=data)
        assert (method, path, text and text[:20], status, answer["code"]) == (method, path, text and text[:20], 400, 3)
    admin.get(f"/api/tenants/{world.tenant}")


def test_openapi(stack):
    doc = stack.rest.get("/api/openapi.json")
    assert doc["openapi"].startswith("3.")
    assert set(doc["paths"]["/api/applications"]) >= {"get", "post"}


def test_created_and_updated(world, admin):
    path = f"/api/applications/{world.app}"
    before = admin.get(path)
    time.sleep(0.002)
    admin.put(path, {"application": {"name": "B"}})
    after = admin.get(path)
    assert after["createdAt"] == before["createdAt"] and after["updatedAt"] > before["updatedAt"]
    assert after["application"]["name"] == "B" and after["application"]["tenantId"] == world.tenant


def test_garbage_on_every_path(stack, admin):
    """Malformed bodies, tokens and identifiers on every route: an answer in the form of the API, and the process lives."""
    doc = stack.rest.get("/api/openapi.json")
    bad = stack.rest.with_token("x.y.z")
    n = 0
    for path, methods in doc["paths"].items():
        for method in methods:
            url = re.sub(r"\{[^}]*\}", "%7Bno%20id%00", path)
            for session, text in ((admin, "{"), (admin, '{"x":1}'), (admin, '[[[['), (bad, "{}"), (stack.rest, "{}")):
                status, answer = session.request(method.upper(), url, text=text if method != "get" else None)
                assert status in (200, 400, 401, 403, 404, 501), (method, url, text, status, answer)
                if status != 200:
                    assert sorted(answer) == ["code", "details", "message"], (method, url, answer)
                n += 1
    assert n > 300
    assert stack.app.running() and stack.ns.running()
