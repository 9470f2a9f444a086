"""Positions for devices whose profile asks for them (tag "geolocation")."""

import math

import pytest

from lw.gateway import gps_ms

C = 299_792_458.0
R = 6_371_008.8


def away(origin, east_m, north_m):
    lat, lon = origin
    return (lat + math.degrees(north_m / R), lon + math.degrees(east_m / R / math.cos(math.radians(lat))), 20.0)


def metres(a, b):
    x = math.radians(b[1] - a[1]) * math.cos(math.radians((a[0] + b[0]) / 2))
    return math.hypot(x, math.radians(b[0] - a[0])) * R


ORIGIN = (52.1, 5.2)
SPOTS = [away(ORIGIN, *p) for p in ((-3000, -2500), (3500, -2000), (500, 4000), (-3500, 2500))]


@pytest.mark.parametrize("n", [3, 4])
def test_from_fine_timestamps(world, n):
    gws = [world.gateway(position=p) for p in SPOTS[:n]]
    where = away(ORIGIN, 400, -700)
    d = world.device(otaa=False, profile=world.profile(otaa=False, tags={"geolocation": "tdoa"}))
    sent = gps_ms() * 1_000_000 + 500_000
    phy = d.uplink(b"where am I")
    for g in gws:
        g.uplink(phy, d.hz, d.datr, gps_ns=sent + round(metres(where, g.position) / C * 1e9), rssi=-90, snr=2.0, wait=False)
    loc = world.stack.events.wait(d.dev_eui, "location")
    up = world.stack.events.wait(d.dev_eui, "up")
    assert loc["deduplicationId"] == up["deduplicationId"]
    got = loc["location"]
    off = metres(where, (got["latitude"], got["longitude"]))
    assert off < 30 and got["source"] == "GEO_RESOLVER_TDOA" and got["accuracy"] > 0, (off, got)


def test_from_signal_strength_and_from_one_gateway(world):
    gws = [world.gateway(position=p) for p in SPOTS[:3]]
    d = world.device(otaa=False, profile=world.profile(otaa=False, tags={"geolocation": "true"}))
    phy = d.uplink(b"x")
    for g, rssi in zip(gws, (-95, -97, -96)):
        g.uplink(phy, d.hz, d.datr, rssi=rssi, wait=False)
    got = world.stack.events.wait(d.dev_eui, "location")["location"]
    assert got["source"] == "GEO_RESOLVER_RSSI" and metres(ORIGIN, (got["latitude"], got["longitude"])) < 4000
    gws[0].uplink(d.uplink(b"y"), d.hz, d.datr, rssi=-118, snr=-4.0)
    got = world.stack.events.wait(d.dev_eui, "location", 2)["location"]
    assert metres(gws[0].position, (got["latitude"], got["longitude"])) < 1 and got["accuracy"] > 500


def test_nobody_asked(world):
    gws = [world.gateway(position=p) for p in SPOTS[:3]]
    asked = world.device(otaa=False, profile=world.profile(otaa=False, tags={"geolocation": "on"}))
    other = world.device(otaa=False, profile=world.profile(otaa=False, tags={"geolocation": "off"}))
    world.send(other, *gws, data=b"x")
    world.stack.events.wait(other.dev_eui, "up")
    world.send(asked, *gws, data=b"x")
    world.stack.events.wait(asked.dev_eui, "location")
    assert not world.stack.events.of(other.dev_eui, "location")
