"""What this machine has and lacks: Debian packages, Node; programs that are run to their end. Never builds, never starts a daemon."""

import os
import shutil
import signal
import subprocess
import sys
import time
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


def start(argv, **kw):
    """A child that leads a process group, so that end() reaches all that it starts, and that ends when this process is killed."""
    return subprocess.Popen(["env", "--default-signal=INT", "setpriv", "--pdeathsig", "TERM", "--", *map(str, argv)],
                            stdin=subprocess.DEVNULL, process_group=0, **kw)


def _to_group(proc, number):
    try:
        os.killpg(proc.pid, number)
    except ProcessLookupError:
        pass


def end(*procs, grace_s=40):
    """Ctrl-C to each and to what it started, all at once; then kill -9 for what is left. Nobody interrupts this."""
    before = [(n, signal.signal(n, signal.SIG_IGN)) for n in (signal.SIGINT, signal.SIGTERM)]
    try:
        for p in procs:
            _to_group(p, signal.SIGINT)
        until = time.monotonic() + grace_s
        for p in procs:
            try:
                p.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
            _to_group(p, signal.SIGKILL)
            p.wait()
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def run(argv, asks=False, **kw):
    """Runs a command that must succeed; its output goes to build/log and is shown only when it fails. `asks`: it may want a password,
    for which it must stay in the terminal's group."""
    log = ROOT / "build" / "log"
    log.mkdir(parents=True, exist_ok=True)
    path = log / (kw.pop("log", Path(argv[0]).name) + ".txt")
    with open(path, "wb") as f:
        kw.update(stdout=f, stderr=subprocess.STDOUT)
        proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, **kw) if asks else start(argv, **kw)
        try:
            code = proc.wait()
        except BaseException:
            proc.terminate() if asks else end(proc)
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
        run([*sudo, *env, "apt-get", "update", "-qq"], asks=True, log="apt-update")
        run([*sudo, *env, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *names], asks=True, log="apt-install")
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
