"""Where the time of an uplink goes: microseconds, system calls and wakes of each process, and the libraries that they are spent in."""

import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from benches import Row
from machine import Failed

TITLE = """where an uplink's time goes, process by process
   The same network as `uplinks` at 1,000 and 4,000 uplinks/s. System calls are counted by the kernel's tracepoints (perf stat, which slows nothing
   down), shares of libraries are samples of the CPU clock (perf record, 499/s). Needs perf and the right to trace (root)."""
DEFAULT, ORDER = False, 95
ROWS = [
    Row("where_syscalls", "system calls per uplink at 4,000/s, all processes together", "", more=False),
]
RATES = (1000, 4000)
CALLS = ("read", "readv", "write", "writev", "recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg", "sendmmsg", "epoll_wait", "epoll_pwait",
         "poll", "pread64", "pwrite64", "fsync", "fdatasync", "fcntl", "futex", "clock_gettime", "timerfd_settime", "ppoll", "select",
         "epoll_ctl", "clock_nanosleep", "openat", "close", "getpid", "gettimeofday", "ioctl", "sendfile", "fstat", "newfstat", "lseek")


def tracepoints():
    known = subprocess.run(["perf", "list", "--raw-dump", "tracepoint"], capture_output=True, text=True).stdout.split()
    return ["raw_syscalls:sys_enter"] + [f"syscalls:sys_enter_{c}" for c in CALLS if f"syscalls:sys_enter_{c}" in known]


def count_calls(pid, seconds, events):
    p = subprocess.run(["perf", "stat", "-x", ",", "-e", ",".join(events), "-p", str(pid), "--", "sleep", str(seconds)],
                       capture_output=True, text=True)
    found = {}
    for line in p.stderr.splitlines():
        part = line.split(",")
        if len(part) > 2 and part[0].isdigit():
            found[part[2].split(":")[1].removeprefix("sys_enter_")] = int(part[0])
    if "sys_enter" not in found:
        raise Failed("perf cannot count system calls here: " + p.stderr.strip()[-300:])
    return found


def libraries(pid, seconds):
    with tempfile.TemporaryDirectory() as d:
        data = str(Path(d) / "perf.data")
        subprocess.run(["perf", "record", "-q", "-F", "499", "-e", "cpu-clock", "-o", data, "-p", str(pid), "--", "sleep", str(seconds)],
                       capture_output=True)
        text = subprocess.run(["perf", "report", "-i", data, "--sort", "dso", "--stdio", "-q"], capture_output=True, text=True).stdout
    return {m[2]: float(m[1]) for m in re.finditer(r"^\s*([\d.]+)%\s+(\S+)", text, re.M)}


def watch(pids, seconds):
    """Both, for all processes at the same time."""
    events, calls, libs, errors = tracepoints(), {}, {}, []

    def one(name, pid):
        try:
            calls[name] = count_calls(pid, seconds, events)
            libs[name] = libraries(pid, seconds)
        except (Failed, OSError) as e:
            errors.append(e)

    pool = [threading.Thread(target=one, args=item) for item in pids.items()]
    for t in pool:
        t.start()
    for t in pool:
        t.join()
    if errors:
        raise errors[0]
    return calls, libs


def run(ctx):
    if not shutil.which("perf"):
        raise Failed("perf is not installed")
    net = ctx.network()
    seconds = 5
    for rate in RATES:
        pids = {n: p for n, p in net.stack.pids.items() if n != "geo-server"}
        got = {}

        def later(pids=pids, got=got):
            time.sleep(3)
            got["calls"], got["libs"] = watch(pids, seconds)

        t = threading.Thread(target=later)
        io_before = {n: written(p) for n, p in pids.items()}
        t.start()
        r = net.traffic(rate, 2 * seconds + 6)
        t.join()
        if "libs" not in got:
            raise Failed("perf could not watch")
        io = {n: (written(p) - io_before[n]) / r["delivered"] for n, p in pids.items()}
        per = rate * seconds
        print(f"\n  at {rate}/s, per uplink:\n\n| process | CPU, µs | wakes | system calls | of them | bytes to disk | CPU by library |\n|---|---|---|---|---|---|---|")
        total = 0.0
        for n in sorted(pids, key=lambda n: -r["cpu_us"][n]):
            calls = got["calls"][n]
            whole = calls.pop("sys_enter")
            total += whole / per
            top = ", ".join(f"{c} {v / per:.2f}" for c, v in sorted(calls.items(), key=lambda kv: -kv[1])[:5] if v / per >= 0.01)
            libs = ", ".join(f"{short(k)} {v:.0f} %" for k, v in sorted(got["libs"][n].items(), key=lambda kv: -kv[1])[:5] if v >= 3)
            print(f"| {n} | {r['cpu_us'][n]:.0f} | {r['wakes'][n]:.2f} | {whole / per:.2f} | {top} | {io[n]:.0f} | {libs} |")
        print(f"| together | {sum(r['cpu_us'].values()):.0f} | {sum(r['wakes'].values()):.2f} | {total:.2f} | | {sum(io.values()):.0f} | |", flush=True)
        ctx.data[str(rate)] = {"cpu_us": r["cpu_us"], "wakes": r["wakes"], "calls": got["calls"], "libraries": got["libs"], "written": io,
                               "seconds": seconds}
        if rate == RATES[-1]:
            ctx.put("where_syscalls", total)


def short(name):
    return re.sub(r"\.so.*", "", name.strip("[]").removeprefix("longwave-")).replace("kernel.kallsyms", "kernel").replace("redis-check-rdb", "redis-server")


def written(pid):
    return int(re.search(r"^write_bytes: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.M)[1])
