"""Fixtures of the end-to-end tests. Binaries: $LONGWAVE_BUILD or build/dev."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import lw  # noqa: E402


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
