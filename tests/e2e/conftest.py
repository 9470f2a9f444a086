"""Fixtures of the end-to-end tests. Binaries: $LONGWAVE_BUILD or build/dev. Database: $LONGWAVE_STORE."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import lw  # noqa: E402
from lw.stack import Stack, World, store  # noqa: E402


def pytest_collection_modifyitems(config, items):
    """`only_store("sqlite")`: the suite runs once on each database, and a test that is about one of them is part of that
    run alone. It is left out of the other, not skipped: a skipped test counts as one that failed."""
    gone = [i for i in items if (m := i.get_closest_marker("only_store")) and m.args[0] != store()]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [i for i in items if i not in gone]


@pytest.fixture
def procs():
    """A list of processes to be ended, in reverse, after the test."""
    started = []
    yield started
    for p in reversed(started):
        p.kill()


@pytest.fixture
def mosquitto(tmp_path, procs):
    m = lw.start_mosquitto(tmp_path)
    procs.append(m)
    return m


@pytest.fixture(scope="session")
def net(tmp_path_factory):
    """The whole of Longwave, shared by all tests that break nothing."""
    s = Stack(tmp_path_factory.mktemp("net"))
    yield s
    s.close()


@pytest.fixture
def world(net):
    w = World(net)
    yield w
    w.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What the daemons of a failed test said last."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for stack in (v for v in getattr(item, "funcargs", {}).values() if isinstance(v, Stack)):
        for name, text in stack.logs():
            report.sections.append((f"last words of {name}", text))
