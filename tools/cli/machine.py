"""What this machine has and lacks: Debian packages, Node, free ports. Never builds, never starts a daemon."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POLICY = Path("/usr/sbin/policy-rc.d")


class Failed(Exception):
    """An error whose text a person can act on; printed without a trace."""


def say(text):
    print(f"longwave: {text}", flush=True)


def packages(*lists):
    names = []
    for name in lists:
        for line in (ROOT / "tools/packages" / f"{name}.txt").read_text().splitlines():
            line = line.split("#")[0].strip()
            if line:
                names.append(line)
    return names


def missing(names):
    out = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n", *names],
                         capture_output=True, text=True).stdout
    have = {line.split()[0] for line in out.splitlines() if line.split()[1:2] == ["ii"]}
    return [n for n in names if n not in have]


def run(argv, **kw):
    """Runs a command that must succeed; its output goes to build/log and is shown only when it fails."""
    log = ROOT / "build" / "log"
    log.mkdir(parents=True, exist_ok=True)
    path = log / (kw.pop("log", Path(argv[0]).name) + ".txt")
    with open(path, "wb") as f:
        proc = subprocess.Popen(argv, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **kw)
        try:
            code = proc.wait()
        except BaseException:
            proc.terminate()
            raise
    if code:
        tail = path.read_text(errors="replace").splitlines()[-60:]
        raise Failed("\n".join([*tail, "", f"failed ({code}): {' '.join(map(str, argv))}", f"whole output: {path}"]))


def install(*lists):
    """Installs what is missing. Services that packages bring are not started: ours are private ones."""
    names = missing(packages(*lists))
    if "ui" in lists or "build" in lists:
        names += node_packages()
    if not names:
        return
    if shutil.which("apt-get") is None:
        raise Failed("these Debian packages are needed, and apt-get is not here: " + " ".join(names))
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    say(f"installing {len(names)} packages")
    env = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
    held = os.geteuid() == 0 and not POLICY.exists()
    if held:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        run([*sudo, *env, "apt-get", "update", "-qq"], log="apt-update")
        run([*sudo, *env, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *names], log="apt-install")
    finally:
        if held:
            POLICY.unlink()


def node_packages():
    """Node comes from Debian where there is none yet."""
    return [] if shutil.which("npm") and shutil.which("node") else ["nodejs", "npm"]


def main_guard(fn):
    try:
        return fn()
    except Failed as e:
        print(f"longwave: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
