"""Fixtures of the end-to-end tests. Binaries: $LONGWAVE_BUILD or build/dev. Database: $LONGWAVE_STORE."""

import itertools
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


@pytest.fixture(scope="module")
def stack(request, tmp_path_factory):
    """Longwave of one module's own, for tests that break it or want it otherwise: the module's OWN_STACK are the settings
    that differ, as Stack takes them."""
    s = Stack(tmp_path_factory.mktemp("own"), **request.module.OWN_STACK)
    yield s
    s.close()


@pytest.fixture
def world(request):
    """In the module's own Longwave if it has an OWN_STACK, else in the one that all share. It lives when the test is over."""
    s = request.getfixturevalue("stack" if hasattr(request.module, "OWN_STACK") else "net")
    w = World(s)
    yield w
    w.close()
    s.wait_healthy()  # nobody starts them again


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What the daemons of a failed test said last."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    fixtures = getattr(item, "funcargs", {}).values()
    stacks = {v if isinstance(v, Stack) else v.stack for v in fixtures if isinstance(v, (Stack, World))}
    for name, text in itertools.chain.from_iterable(s.logs() for s in stacks):
        if text:
            report.sections.append((f"last words of {name}", text))
