"""Keeps a set of processes running: starts them in order, starts again what dies, ends all of them on request.

Never knows what the processes are for. Every child is the leader of its own process group, and asks the kernel to be
told when this process is gone, so that nothing is left behind even after kill -9.
"""

import ctypes
import os
import select
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _child_setup():
    os.setpgid(0, 0)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """One program: how it is started, when it counts as ready, how it is ended."""

    def __init__(self, name, argv, ready, log, env=None, cwd=None):
        self.name, self.argv, self.ready, self.log = name, argv, ready, log
        self.env, self.cwd = env, cwd
        self.proc = None
        self.started_at = 0.0
        self.failures = 0

    def start(self):
        with open(self.log, "ab") as out:
            self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                         env=self.env, cwd=self.cwd, preexec_fn=_child_setup)
        self.started_at = time.monotonic()

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def last_words(self, lines=12):
        try:
            with open(self.log, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""


class Supervisor:
    def __init__(self, say):
        self.say = say
        self.processes = []
        self.stopping = False
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_w, False)
        os.set_blocking(self._wake_r, False)
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: self._wake())

    def _wake(self):
        try:
            os.write(self._wake_w, b"x")
        except BlockingIOError:
            pass

    def _on_stop(self, *_):
        self.stopping = True
        self._wake()

    def _wait(self, seconds):
        select.select([self._wake_r], [], [], seconds)
        try:
            os.read(self._wake_r, 4096)
        except BlockingIOError:
            pass

    def start(self, process, timeout_s=60):
        """Starts and waits until ready; False when it was told to stop meanwhile; raises when the process ends first."""
        process.start()
        self.processes.append(process)
        end = time.monotonic() + timeout_s
        while not self.stopping:
            if not process.alive():
                raise RuntimeError(f"{process.name} ended at once; its last words:\n{process.last_words()}")
            if process.ready():
                return True
            if time.monotonic() > end:
                raise RuntimeError(f"{process.name} is not ready after {timeout_s} s; its last words:\n{process.last_words()}")
            self._wait(0.05)
        return False

    def run(self):
        """Until told to stop: what ends is started again, with a growing pause when it keeps ending."""
        due = {}
        while not self.stopping:
            now = time.monotonic()
            for p in self.processes:
                if p.alive():
                    if p.failures and now - p.started_at > 30:
                        p.failures = 0
                    continue
                if p not in due:
                    pause = min(10.0, 0.2 * 2 ** p.failures) if p.failures else 0.0
                    p.failures += 1
                    due[p] = now + pause
                    code = p.proc.returncode
                    how = f"signal {-code}" if code < 0 else f"exit {code}"
                    self.say(f"{p.name} ended ({how}); starting it again" + (f" in {pause:.1f} s" if pause else ""))
                if now >= due[p]:
                    del due[p]
                    p.start()
            self._wait(max(0.05, min(due.values()) - now) if due else 1.0)

    def stop(self, grace_s=20):
        """Last started, first ended; what does not end within the time is killed."""
        self.stopping = True
        end = time.monotonic() + grace_s
        for p in reversed(self.processes):
            if p.alive():
                p.proc.terminate()
                while p.alive() and time.monotonic() < min(end, time.monotonic() + 8):
                    try:
                        p.proc.wait(timeout=max(0.05, min(8.0, end - time.monotonic())))
                    except subprocess.TimeoutExpired:
                        break
        for p in self.processes:
            if p.alive():
                self.say(f"{p.name} does not end; killing it")
            if p.proc is not None:
                try:
                    os.killpg(p.proc.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                p.proc.wait()
