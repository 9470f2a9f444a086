"""The computation behind docs/scale.md: it runs, is deterministic, and does not contradict itself."""

import copy
import json
import subprocess
import sys

import pytest

from lw.procs import ROOT

sys.path.insert(0, str(ROOT / "tests" / "bench"))
import scale  # noqa: E402

PROGRAM = [sys.executable, str(ROOT / "tests" / "bench" / "scale.py")]


@pytest.fixture
def costs():
    return json.loads(scale.COSTS.read_text())


def test_the_document_has_what_the_program_prints():
    out = subprocess.run(PROGRAM, capture_output=True, text=True, check=True).stdout
    assert "10,000,000 devices" in out
    text = (ROOT / "docs" / "scale.md").read_text()
    lost = [line for line in out.splitlines() if line and line not in text]
    assert not lost, "docs/scale.md is not of these costs: run tests/bench/scale.py"


def test_more_devices_never_need_less(costs):
    before = None
    for devices in (1000, 10_000, 100_000, 1_000_000, 10_000_000):
        r = scale.layout(costs, devices, 96)
        now = [x["processes"] for x in r["parts"].values()]
        assert all(x["busy"] <= scale.BUSY_MAX for x in r["parts"].values())
        if before:
            assert all(a <= b for a, b in zip(before, now))
        before = now
    assert max(before) > 1


def test_the_limit_is_where_a_second_process_begins(costs):
    for rate, part in scale.limits(costs):
        def n(at):
            return scale.processes(costs, part, scale.demand(at * 86400 / 96 / scale.BUSY_HOUR, 96))
        assert (n(rate * 0.99), n(rate * 1.01)) == (1, 2)


def test_a_dearer_part_saturates_earlier(costs):
    dear = copy.deepcopy(costs)
    for cpu in dear["cpu_us_per_uplink_at"].values():
        cpu["redis"] *= 100
    assert scale.limits(dear)[0][1] == "redis" and scale.limits(costs)[0][1] != "redis"
