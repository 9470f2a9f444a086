"""The documentation agrees with the program (tools/check_docs.py)."""

import sys
from pathlib import Path

import lw

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import check_docs  # noqa: E402


def test_pages_agree_with_the_program():
    assert check_docs.problems(lw.build_dir()) == []


def test_the_check_sees_differences(tmp_path, monkeypatch):
    page = tmp_path / "settings.md"
    page.write_text(check_docs.SETTINGS.read_text().replace("| `drain_timeout` |", "| `drain_time` |", 1))
    monkeypatch.setattr(check_docs, "SETTINGS", page)
    assert check_docs.problems(lw.build_dir()) == ["docs/settings.md is not what the daemons print: ./longwave docs"]
