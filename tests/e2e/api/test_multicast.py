"""Multicast groups over REST: objects, members, rights, counters."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.test_access import key, user

PATH = "/api/multicast-groups"


def body(world, **more):
    return {"multicastGroup": {"name": "all", "applicationId": world.app, "region": "EU868", "mcAddr": "01020304", "mcNwkSKey": "01" * 16,
                               "mcAppSKey": "02" * 16, "groupType": "CLASS_C", "dr": 3, "frequency": 868300000, "fCnt": 10, **more}}


@pytest.fixture
def group(world):
    return world.admin.post(PATH, body(world))["id"]


def put_device(world, eui, app=None):
    world.admin.post("/api/devices", {"device": {"devEui": eui, "name": eui, "applicationId": app or world.app, "deviceProfileId": world.otaa}})


def put_gateway(world, eui, tenant=None):
    world.admin.post("/api/gateways", {"gateway": {"gatewayId": eui, "name": eui, "tenantId": tenant or world.tenant, "statsInterval": 30}})


def item(data=b"x", **more):
    return {"queueItem": {"fPort": 5, "data": base64.b64encode(data).decode(), **more}}


def test_life(world):
    a = world.admin
    for n, name in enumerate(("Zebra", "ant", "bear")):
        a.post(PATH, body(world, name=name, mcAddr=f"0102030{n}"))
    get = lambda q: [g["name"] for g in a.get(f"{PATH}?limit=10&{q}")["result"]]  # noqa: E731
    assert sorted(get(f"applicationId={world.app}")) == ["Zebra", "ant", "bear"]
    assert sorted(get(f"tenantId={world.tenant}")) == ["Zebra", "ant", "bear"]
    assert get(f"applicationId={world.app}&search=EB") == ["Zebra"]
    assert a.get(f"{PATH}?applicationId={world.app}") == {"totalCount": 3, "result": []}
    g = a.get(f"{PATH}?limit=1&search=ant&applicationId={world.app}")["result"][0]
    assert (g["applicationName"], g["applicationId"], g["groupType"]) == ("A", world.app, "CLASS_C")
    got = a.get(f"{PATH}/{g['id']}")["multicastGroup"]
    assert got == body(world, name="ant", mcAddr="01020301", id=g["id"], classBPingSlotPeriodicity=0,
                       classCSchedulingType="DELAY")["multicastGroup"]
    a.put(f"{PATH}/{g['id']}", {"multicastGroup": {**got, "name": "elephant", "groupType": "CLASS_B", "classBPingSlotPeriodicity": 3, "frequency": 0}})
    got = a.get(f"{PATH}/{g['id']}")["multicastGroup"]
    assert (got["name"], got["groupType"], got["classBPingSlotPeriodicity"], got["frequency"]) == ("elephant", "CLASS_B", 3, 0)
    a.delete(f"{PATH}/{g['id']}")
    a.call("GET", f"{PATH}/{g['id']}", expect=404)
    a.call("DELETE", f"{PATH}/{g['id']}", expect=404)
    a.delete(f"/api/applications/{world.app}")
    assert get(f"tenantId={world.tenant}") == []


@pytest.mark.parametrize("wrong", [
    {"name": ""}, {"mcAddr": "0102030"}, {"mcAddr": ""}, {"mcNwkSKey": ""}, {"mcAppSKey": "zz" * 16}, {"dr": 14}, {"dr": 200}, {"frequency": 0},
    {"frequency": 915000000}, {"classBPingSlotPeriodicity": 8}, {"groupType": 7}, {"classCSchedulingType": 2}])
def test_refused(world, group, wrong):
    world.admin.call("POST", PATH, body(world, **wrong), 400)
    world.admin.call("PUT", f"{PATH}/{group}", body(world, **wrong), 400)


def test_unknown_parents(world):
    none = "00000000-0000-4000-8000-000000000000"
    world.admin.call("POST", PATH, body(world, applicationId=none), 404)
    world.admin.call("POST", f"{PATH}/{none}/queue", item(), 404)
    world.admin.call("POST", PATH, {}, 400)
    world.admin.call("GET", f"{PATH}/x", expect=400)


def test_members(admin, world, group, new_eui):
    """Devices of the same application, gateways of the same tenant; in lists by group; gone with what they are of."""
    other = admin.post("/api/tenants", {"tenant": {"name": "O", "canHaveGateways": True}})["id"]
    app2 = admin.post("/api/applications", {"application": {"name": "B", "tenantId": world.tenant}})["id"]
    dev, elsewhere, dev2, gw, foreign = (new_eui() for _ in range(5))
    put_device(world, dev), put_device(world, dev2), put_device(world, elsewhere, app2)
    put_gateway(world, gw), put_gateway(world, foreign, other)
    path = f"{PATH}/{group}"
    for _ in range(2):
        admin.post(f"{path}/devices", {"devEui": dev.upper()})
        admin.post(f"{path}/gateways", {"gatewayId": gw})
    for eui in (elsewhere, new_eui()):
        admin.call("POST", f"{path}/devices", {"devEui": eui}, 404)
    for eui in (foreign, new_eui()):
        admin.call("POST", f"{path}/gateways", {"gatewayId": eui}, 404)
    admin.call("POST", f"{path}/devices", {"devEui": "x"}, 400)
    of = lambda kind, q: [x.get("devEui") or x["gatewayId"] for x in admin.get(f"/api/{kind}?limit=10&{q}")["result"]]  # noqa: E731
    assert of("devices", f"applicationId={world.app}&multicastGroupId={group}") == [dev]
    assert sorted(of("devices", f"applicationId={world.app}")) == sorted([dev, dev2])
    assert of("gateways", f"multicastGroupId={group}") == [gw]
    assert of("gateways", f"tenantId={other}&multicastGroupId={group}") == []
    assert [g["id"] for g in admin.get(f"{PATH}?limit=10&devEui={dev}")["result"]] == [group]
    assert admin.get(f"{PATH}?limit=10&devEui={dev2}")["result"] == []
    admin.call("DELETE", f"{path}/devices/{dev2}", expect=404)
    admin.delete(f"{path}/devices/{dev}")
    assert of("devices", f"applicationId={world.app}&multicastGroupId={group}") == []
    admin.delete(f"/api/gateways/{gw}")
    assert of("gateways", f"multicastGroupId={group}") == []
    admin.post(f"{path}/devices", {"devEui": dev2})
    d = admin.get(f"/api/devices/{dev2}")["device"]
    admin.put(f"/api/devices/{dev2}", {"device": {**d, "name": "same application"}})
    assert of("devices", f"applicationId={world.app}&multicastGroupId={group}") == [dev2]
    admin.put(f"/api/devices/{dev2}", {"device": {**d, "applicationId": app2}})
    assert admin.get(f"{PATH}?limit=10&devEui={dev2}")["result"] == []
    admin.put(f"/api/devices/{dev2}", {"device": {**d, "applicationId": world.app}})
    assert of("devices", f"applicationId={world.app}&multicastGroupId={group}") == []
    admin.post(f"{path}/devices", {"devEui": dev2})
    admin.delete(f"/api/devices/{dev2}")
    assert of("devices", f"applicationId={world.app}&multicastGroupId={group}") == []


def test_counters(admin, world, group):
    """Each item has its own counter, many at once too; an update never sets it back; new keys begin anew with an empty queue."""
    path = f"{PATH}/{group}"
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda i: admin.post(f"{path}/queue", item(b"%d" % i))["fCnt"], range(40)))
    assert sorted(got) == list(range(10, 50))
    queue = {i["fCnt"]: base64.b64decode(i["data"]) for i in admin.get(f"{path}/queue")["items"]}
    assert queue == {c: b"%d" % i for i, c in enumerate(got)}
    g = admin.get(path)["multicastGroup"]
    assert g["fCnt"] == 50
    admin.put(path, {"multicastGroup": {**g, "fCnt": 12, "name": "other"}})
    assert admin.get(path)["multicastGroup"]["fCnt"] == 50 and len(admin.get(f"{path}/queue")["items"]) == 40
    admin.put(path, {"multicastGroup": {**g, "fCnt": 100}})
    assert admin.post(f"{path}/queue", item())["fCnt"] == 100
    admin.put(path, {"multicastGroup": {**g, "fCnt": 0, "mcAppSKey": "03" * 16}})
    assert admin.get(f"{path}/queue")["items"] == []
    assert admin.post(f"{path}/queue", item(b"", expiresAt="2099-01-01T00:00:00Z"))["fCnt"] == 0
    (i,) = admin.get(f"{path}/queue")["items"]
    assert (i["data"], i["expiresAt"], i["multicastGroupId"]) == ("", "2099-01-01T00:00:00Z", group)
    admin.delete(f"{path}/queue")
    assert admin.get(f"{path}/queue")["items"] == []


def test_bad_items(admin, group):
    for bad in (item(fPort=0), item(fPort=256), item(b"x" * 116), item(b"x" * 300), {}):
        admin.call("POST", f"{PATH}/{group}/queue", bad, 400)
    admin.post(f"{PATH}/{group}/queue", item(b"x" * 115))  # the most that DR3 carries


def test_rights(admin, world, group, new_eui):
    dev, gw = new_eui(), new_eui()
    put_device(world, dev), put_gateway(world, gw)
    path = f"{PATH}/{group}"
    reads = [("GET", path, None), ("GET", f"{PATH}?limit=1&applicationId={world.app}", None), ("GET", f"{path}/queue", None),
             ("GET", f"/api/gateways?limit=1&multicastGroupId={group}", None), ("GET", f"{PATH}?limit=1&devEui={dev}", None),
             ("GET", f"/api/devices?limit=1&applicationId={world.app}&multicastGroupId={group}", None)]
    writes = [("POST", PATH, body(world)), ("PUT", path, body(world)), ("POST", f"{path}/devices", {"devEui": dev}),
              ("DELETE", f"{path}/devices/{dev}", None), ("POST", f"{path}/gateways", {"gatewayId": gw}),
              ("DELETE", f"{path}/gateways/{gw}", None), ("POST", f"{path}/queue", item()), ("DELETE", f"{path}/queue", None)]
    callers = {"member": (user(admin, world.tenant), 200, 403), "gateway admin": (user(admin, world.tenant, isGatewayAdmin=True), 200, 403),
               "device admin": (user(admin, world.tenant, isDeviceAdmin=True), 200, 200), "stranger": (user(admin), 403, 403),
               "key": (key(admin, tenantId=world.tenant), 200, 200), "reader": (key(admin, tenantId=world.tenant, isReadOnly=True), 200, 403)}
    for name, (caller, read, write) in callers.items():
        for method, url, what in reads:
            assert (name, url, caller.request(method, url, what)[0]) == (name, url, read)
        for method, url, what in writes:
            assert (name, method, url, caller.request(method, url, what)[0]) == (name, method, url, write)
        assert caller.request("DELETE", f"{PATH}/00000000-0000-4000-8000-000000000000")[0] in (403, 404)
    assert user(admin, world.tenant).request("GET", f"{PATH}?limit=1")[0] == 403  # of everybody
    assert admin.request("GET", f"{PATH}?limit=1")[0] == 200
