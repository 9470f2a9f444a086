"""A loss of power for daemons that run with powerloss.c preloaded: kill -9, then each file becomes what was synced of it."""

import os
import shutil
import subprocess
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent


def library(tmp):
    """Compiled where it is needed."""
    out = Path(tmp) / "powerloss.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-o", str(out), str(HERE / "powerloss.c"), "-ldl",
                    "-pthread"], check=True)
    return out


class Disk:
    """The disk under one daemon. `parts`: what its files' paths begin with."""

    def __init__(self, daemon, so, tmp, parts, shadow=True):
        self.daemon, self.parts = daemon, [str(p) for p in parts]
        base = Path(tmp) / f"disk-{daemon.name}-{id(daemon)}"
        self.shadow, self.control = base / "shadow", base / "control"
        for folder in (self.shadow, self.control):
            folder.mkdir(parents=True)
        daemon.env = dict(os.environ, LD_PRELOAD=str(so), LW_POWER_WATCH=":".join(self.parts), LW_DISK_CONTROL=str(self.control),
                          **({"LW_POWER_SHADOW": str(self.shadow)} if shadow else {}))

    # ---- what stops or fails a write

    def hold(self, part):
        (self.control / "held").unlink(missing_ok=True)
        self._set("hold", part)

    def held(self):
        return (self.control / "held").exists()

    def fill(self, part):
        self._set("full", part)

    def free(self):
        for name in ("hold", "full"):
            (self.control / name).unlink(missing_ok=True)

    def _set(self, name, part):
        fresh = self.control / "next"
        fresh.write_text(part)
        fresh.rename(self.control / name)

    # ---- power

    def _files(self):
        for part in self.parts:
            p = Path(part)
            yield from (x for x in (p.rglob("*") if p.is_dir() else p.parent.glob(p.name + "*")) if x.is_file())

    def cut(self):
        """Call it when the daemon is dead. Returns (files cut back or taken away, bytes that were never synced)."""
        files = size = 0
        for f in list(self._files()):
            shadow = self.shadow / str(f).replace("/", "%")
            if not shadow.exists():
                files, size = files + 1, size + f.stat().st_size
                f.unlink()
            elif shadow.read_bytes() != f.read_bytes():
                files, size = files + 1, size + max(0, f.stat().st_size - shadow.stat().st_size)
                shutil.copyfile(shadow, f)
        for shadow in self.shadow.iterdir():
            path = Path(shadow.name.replace("%", "/"))
            if shadow.name.endswith(",new"):
                shadow.unlink()
            elif not path.exists():  # its removal had not reached the disk
                files += 1
                shutil.copyfile(shadow, path)
        return files, size


class Box:
    """Network-server, app-server and bridge on one box without a battery; the broker is another one's."""

    def __init__(self, stack, tmp):
        so = library(tmp)
        parts = {stack.ns: ["ns-state", "ns.db"], stack.app: ["app-state", "app.db"], stack.bridge: ["bridge-state"]}
        self.disks = {d: Disk(d, so, tmp, [Path(tmp) / p for p in names]) for d, names in parts.items()}
        self.cuts = self.files = self.bytes = 0

    def fail(self):
        threads = [threading.Thread(target=d.kill) for d in self.disks]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.cuts += 1
        for disk in self.disks.values():
            files, size = disk.cut()
            self.files += files
            self.bytes += size

    def start(self):
        for d in self.disks:
            d.start(wait=False)
