"""The developer verbs: fmt, lint, fuzz, docs."""

import os
import subprocess

import build
from machine import ROOT, Failed, install


def _fmt(_args):
    return subprocess.run(["/usr/bin/python3", "tools/check_format.py", "--fix"], cwd=ROOT).returncode


def _lint(_args):
    code = subprocess.run(["/usr/bin/python3", "tools/check_format.py"], cwd=ROOT).returncode
    code |= subprocess.run(["/usr/bin/python3", "tools/check_includes.py"], cwd=ROOT).returncode
    out = build.cmake("clang")
    files = subprocess.run(["git", "ls-files", "common/*.c", "*-server/*.c", "gateway-bridge/*.c", "tools/*.c"], cwd=ROOT,
                           capture_output=True, text=True, check=True).stdout.split()
    return code | subprocess.run(["clang-tidy", "-p", str(out), "--quiet", *files], cwd=ROOT).returncode


def _fuzz(args):
    out = build.cmake("fuzz", "fuzzers")
    targets = sorted(p.name for p in (out / "bin").glob("fuzz_*") if p.is_file() and os.access(p, os.X_OK))
    seconds = args.pop() if args and args[-1].isdigit() else "60"
    names = [a if a.startswith("fuzz_") else f"fuzz_{a}" for a in args] or targets
    code = 0
    for name in names:
        if name not in targets:
            raise Failed(f"no target {name}; there are: {' '.join(targets)}")
        corpus = ROOT / "tests/fuzz/corpus" / name.removeprefix("fuzz_")
        corpus.mkdir(parents=True, exist_ok=True)
        code |= subprocess.run([str(out / "bin" / name), f"-max_total_time={seconds}", "-rss_limit_mb=1024", str(corpus)],
                               cwd=ROOT).returncode
    return code


def _docs(_args):
    """docs/settings.md from the daemons' own tables; then what the other pages say is checked."""
    out = build.cmake("release", *[f"longwave-{d}" for d in build.DAEMONS])
    return subprocess.run(["/usr/bin/python3", "tools/check_docs.py", str(out), "--fix"], cwd=ROOT).returncode


def main(verb, args):
    install("build", "test")
    return {"fmt": _fmt, "lint": _lint, "fuzz": _fuzz, "docs": _docs}[verb](args)
