"""Builds: CMake presets for the daemons, npm for the web UI. Never starts anything."""

import hashlib
import os
from pathlib import Path

from machine import ROOT, run, say

UI = ROOT / "app-server" / "ui"
DAEMONS = ["gateway-bridge", "network-server", "app-server", "geo-server"]


def cmake(preset, *targets):
    """Configures (once) and builds a preset; returns its folder."""
    out = ROOT / "build" / preset
    if not (out / "build.ninja").exists():
        run(["cmake", "--preset", preset], cwd=ROOT, log=f"cmake-{preset}")
    say(f"building {preset}")
    argv = ["cmake", "--build", str(out), "-j", str(os.cpu_count() or 2)]
    if targets:
        argv += ["--target", *targets]
    run(argv, cwd=ROOT, log=f"build-{preset}")
    return out


def _digest(paths):
    h = hashlib.sha256()
    for p in sorted(paths):
        h.update(str(p).encode())
        h.update(p.read_bytes())
    return h.hexdigest()


def ui_modules():
    """npm packages of the UI, installed when the lock file changed."""
    stamp = UI / "node_modules" / ".longwave-lock"
    want = _digest([UI / "package-lock.json"])
    if not stamp.exists() or stamp.read_text() != want:
        say("installing the web UI's packages")
        run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=UI, log="npm-ci")
        stamp.write_text(want)


def ui(build_dir):
    """The web UI as static files under <build_dir>/ui; types come from the OpenAPI document of this build."""
    if not (UI / "package.json").exists():
        return None
    out = Path(build_dir) / "ui"
    sources = [p for p in UI.rglob("*") if p.is_file() and not {"node_modules", "test-results", "dist"} & set(p.parts)
               and p.name != "schema.d.ts"]  # made by the build itself
    stamp = out / ".longwave-sources"
    want = _digest(sources + list((ROOT / "proto").rglob("*.proto")))
    if stamp.exists() and stamp.read_text() == want:
        return out
    ui_modules()
    say("building the web UI")
    env = dict(os.environ, LONGWAVE_BUILD=str(build_dir), LONGWAVE_UI_OUT=str(out))
    run(["npm", "run", "--silent", "build"], cwd=UI, env=env, log="npm-build")
    stamp.write_text(want)
    return out
