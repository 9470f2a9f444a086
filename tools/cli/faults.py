"""./longwave faults: kill -9 under traffic, for as long as wanted; the mutants that it must catch. The test itself: tests/faults."""

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import build
from machine import ROOT, Failed, install, say

RUN = ROOT / "tests" / "faults" / "run.py"
MUTANTS = ROOT / "tests" / "faults" / "mutants"
BINARIES = [f"longwave-{d}" for d in build.DAEMONS]


def parse(args):
    p = argparse.ArgumentParser(prog="./longwave faults", description=__doc__)
    p.add_argument("--minutes", type=float, default=1)
    p.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    p.add_argument("--replicas", type=int, default=1, help="network-servers and app-servers; more than one means PostgreSQL")
    p.add_argument("--seed", type=int, help="of an earlier run; without it another one each time")
    p.add_argument("--mutant", choices=[m.stem for m in sorted(MUTANTS.glob("*.patch"))], help="build this wrong one, which must fail")
    p.add_argument("--keep", action="store_true", help="leave the folder with databases and logs")
    p.add_argument("--build-dir", help=argparse.SUPPRESS)
    return p.parse_args(args)


def command(seconds, store="sqlite", replicas=1, seed=None, keep=False):
    argv = ["/usr/bin/python3", "-B", str(RUN), "--seconds", str(seconds), "--store", "postgres" if replicas > 1 else store,
            "--replicas", str(replicas)]
    return argv + (["--seed", str(seed)] if seed is not None else []) + (["--keep"] if keep else [])


def _call(argv, out):
    return subprocess.run(argv, cwd=ROOT, env=dict(os.environ, LONGWAVE_BUILD=str(out)), stdin=subprocess.DEVNULL).returncode


def mutate(name, folder):
    """A copy of the sources with one thing wrong, built beside them; returns its build folder."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    copy = Path(folder) / "source"
    for path in filter(None, listed.decode().split("\0")):
        if (ROOT / path).is_file():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, copy / path)
    done = subprocess.run(["patch", "-p1", "-F0", "-s", "--no-backup-if-mismatch", "-i", str(MUTANTS / f"{name}.patch")], cwd=copy,
                          capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"the patch of mutant {name} does not fit the sources any more:\n{done.stdout}{done.stderr}")
    say(f"building mutant {name}")
    out = Path(folder) / "build"
    for argv in (["cmake", "-S", str(copy), "-B", str(out), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DLW_TESTS=OFF"],
                 ["cmake", "--build", str(out), "-j", str(os.cpu_count() or 2), "--target", *BINARIES]):
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"mutant {name}: {' '.join(argv[:3])}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return out


def windows(out):
    """The targeted tests: a slow disk holds the daemon between the two things whose order matters, then it is killed."""
    return _call(["/usr/bin/python3", "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/faults/test_windows.py"], out)


def main(_verb, args):
    opt = parse(args)
    install("build", "run", "test")
    if opt.mutant:
        with tempfile.TemporaryDirectory(prefix="lw-mutant-") as folder:
            caught = windows(mutate(opt.mutant, folder)) != 0
        print(f"mutant {opt.mutant}: {'FAILED the test, as it must' if caught else 'NOT NOTICED'}", flush=True)
        return 0 if caught else 1
    out = Path(opt.build_dir).resolve() if opt.build_dir else build.cmake("release", *BINARIES)
    return _call(command(opt.minutes * 60, opt.store, opt.replicas, opt.seed, opt.keep), out)
