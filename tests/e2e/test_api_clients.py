"""A stock gRPC client in another language: what published clients do first."""

import grpc
import pytest

import lw
from lw.gateway import payload
from lw.rpc import Rpc


@pytest.fixture
def api(net):
    return net.api


def test_from_tenant_to_queue(net, api):
    """Tenant, application, profile, device with keys; its queue; over gRPC alone."""
    region = lw.message("api.DeviceProfile").DESCRIPTOR.fields_by_name["region"].enum_type.values_by_name["EU868"].number
    version = lw.message("api.DeviceProfile").DESCRIPTOR.fields_by_name["mac_version"].enum_type.values_by_name["LORAWAN_1_0_3"].number
    tenant = api.call("api.TenantService/Create", tenant={"name": "over gRPC", "can_have_gateways": True}).id
    app = api.call("api.ApplicationService/Create", application={"name": "a", "tenant_id": tenant}).id
    profile = api.call("api.DeviceProfileService/Create", device_profile={
        "name": "p", "tenant_id": tenant, "region": region, "mac_version": version, "supports_otaa": True,
        "adr_algorithm_id": "default", "uplink_interval": 60}).id
    eui = "70b3d57e7fffffff"
    api.call("api.DeviceService/Create", device={"dev_eui": eui.upper(), "name": "d", "application_id": app, "device_profile_id": profile})
    api.call("api.DeviceService/CreateKeys", device_keys={"dev_eui": eui, "nwk_key": "00112233445566778899aabbccddeeff"})
    assert list(api.call("api.DeviceService/GetQueue", dev_eui=eui).result) == []
    item = api.call("api.DeviceService/Enqueue", queue_item={"dev_eui": eui, "f_port": 10, "data": b"\1\2\3"}).id
    queue = api.call("api.DeviceService/GetQueue", dev_eui=eui)
    assert [(i.id, i.f_port, i.data, i.is_pending) for i in queue.result] == [(item, 10, b"\1\2\3", False)] and queue.total_count == 1
    got = api.call("api.DeviceService/Get", dev_eui=eui).device
    assert (got.dev_eui, got.name, got.application_id, got.device_profile_id) == (eui, "d", app, profile)
    assert api.call("api.DeviceService/GetKeys", dev_eui=eui).device_keys.nwk_key == "00112233445566778899aabbccddeeff"
    assert eui in [d.dev_eui for d in api.call("api.DeviceService/List", application_id=app, limit=10).result]
    api.call("api.DeviceService/FlushQueue", dev_eui=eui)
    assert api.call("api.DeviceService/GetQueue", dev_eui=eui).total_count == 0
    # What gRPC made, REST shows.
    assert net.rest.get(f"/api/tenants/{tenant}")["tenant"]["name"] == "over gRPC"
    api.call("api.TenantService/Delete", id=tenant)
    with pytest.raises(grpc.RpcError) as e:
        api.call("api.DeviceService/Get", dev_eui=eui)
    assert e.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("token, name, fields, code", [
    (None, "api.TenantService/List", {"limit": 1}, "UNAUTHENTICATED"),
    ("nonsense", "api.TenantService/List", {"limit": 1}, "UNAUTHENTICATED"),
    ("admin", "api.TenantService/Get", {"id": "not-a-uuid"}, "INVALID_ARGUMENT"),
    ("admin", "api.TenantService/Get", {"id": "00000000-0000-4000-8000-000000000001"}, "NOT_FOUND"),
    ("admin", "api.DeviceService/Get", {"dev_eui": "xyz"}, "INVALID_ARGUMENT"),
    ("admin", "api.TenantService/Create", {}, "INVALID_ARGUMENT"),
])
def test_errors(net, token, name, fields, code):
    rpc = Rpc(net.grpc_port, net.rest.token if token == "admin" else token)
    with pytest.raises(grpc.RpcError) as e:
        rpc.call(name, **fields)
    rpc.close()
    assert e.value.code().name == code and (code == "UNAUTHENTICATED" or e.value.details())


def test_unknown_method(net, api):
    fn = api.channel.unary_unary("/api.NoService/NoMethod")
    with pytest.raises(grpc.RpcError) as e:
        fn(b"", timeout=5)
    assert e.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection(net, api, version):
    name = f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    request = api.request_class(name)
    answers = list(api.stream(name, [
        request(list_services="*"), request(file_containing_symbol="api.DeviceService"), request(file_by_filename="common/common.proto"),
        request(file_containing_symbol="no.such.Symbol")]))
    services = {s.name for s in answers[0].list_services_response.service}
    assert {"api.ApplicationService", "api.DeviceProfileService", "api.DeviceService", "api.GatewayService", "api.InternalService",
            "api.TenantService", "api.UserService", f"grpc.reflection.{version}.ServerReflection", "grpc.health.v1.Health"} <= services
    from google.protobuf import descriptor_pb2
    files = [descriptor_pb2.FileDescriptorProto.FromString(b) for b in answers[1].file_descriptor_response.file_descriptor_proto]
    assert "DeviceService" in [s.name for f in files for s in f.service]
    assert answers[2].file_descriptor_response.file_descriptor_proto
    assert answers[3].error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_health(net):
    for rpc in (net.api, net.ns_api):
        assert rpc.call("grpc.health.v1.Health/Check").status == 1


def test_the_network_servers_own_service(world):
    """Regions and sessions, for any application server."""
    gw = world.gateway()
    d = world.device(otaa=False)
    regions = {r.id: r for r in world.stack.ns_api.call("longwave.ns.v1.NetworkServer/ListRegions").regions}
    assert {"eu868"} | {f"us915_{i}" for i in range(8)} <= set(regions)
    world.send(d, gw, data=b"x", confirmed=True)
    d.downlink(payload(gw.next_txpk()))
    session = world.stack.ns_api.call("longwave.ns.v1.NetworkServer/GetSession", dev_eui=d.dev_eui).session
    assert (session.dev_addr, session.f_cnt_up, session.n_f_cnt_down) == (f"{d.dev_addr:08x}", 1, 1)
