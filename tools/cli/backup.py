"""./longwave backup and restore: the state folder of `./longwave up` in one file, taken while everything runs.

One moment for both databases: the write locks of ns.db and app.db are held together for as long as it takes to begin a snapshot of
each and to copy the network-server's inbox; the daemons' commits wait these milliseconds. The snapshots are then written out without
holding anyone up: nothing in one of them follows from something that the other does not have yet. Spools and commands are copied
after that moment: what has left them meanwhile was delivered.

Not in it: the broker's store (the daemons' sessions and the app-server's position are made anew; events that were not taken yet
come again from the network-server's outbox), Redis (a cache), logs. docs/operations.md, "Backup", tells what that means.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import build
from machine import ROOT, Failed, install, say

FORMAT = 1
DATABASES = ("ns.db", "app.db")
INBOX = "network-server"
FOLDERS = ("app-server", "gateway-bridge", "config")
LOCK_WAIT_S = 20
TRIES = 20
HELD_BYTES = 64e6  # an inbox larger than this (its database was away for long) is not copied while writers wait


def parse(verb, args):
    p = argparse.ArgumentParser(prog=f"./longwave {verb}", description=__doc__.splitlines()[0])
    p.add_argument("file", metavar="FILE")
    p.add_argument("--state", default="state", metavar="DIR", help="the state folder (state)")
    p.add_argument("--build-dir", help=argparse.SUPPRESS)
    if verb == "restore":
        p.add_argument("--jump", type=int, default=4096, metavar="N", help="how far downlink counters and JoinNonces go ahead (4096)")
    return p.parse_args(args)


def is_sqlite(path):
    try:
        with open(path, "rb") as f:
            return f.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def files_of(state, folders):
    """The files in these folders, by their path inside the state folder."""
    return [p.relative_to(state) for f in folders for p in sorted((state / f).rglob("*")) if p.is_file() and not p.is_symlink()]


def copy_file(source, target):
    """A file may grow, shrink or go away meanwhile: a journal whose records are done is deleted. Torn tails are the readers' business."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        return False
    return True


def copy_spool(source, target):
    """An SQLite file that its daemon keeps locked: main file, then -wal, again until the main file did not change meanwhile. That is
    what a crash leaves, and it opens like that."""
    wal = Path(f"{source}-wal")
    for _ in range(TRIES):
        try:
            before = source.stat()
        except FileNotFoundError:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        copied = Path(f"{target}-wal")
        copied.unlink(missing_ok=True)
        if wal.exists():
            copy_file(wal, copied)
        after = source.stat()
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size) and sound(target):
            return True
        time.sleep(0.02)
    raise Failed(f"{source} changes all the time: it cannot be copied")


def sound(path):
    """Opens the copy, takes its -wal in, and lets SQLite check it."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = DELETE")
            return db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    except sqlite3.Error:
        return False


def copy_folders(state, work, *folders):
    for name in files_of(state, folders):
        if name.name.endswith(("-wal", "-shm", "-journal")) and is_sqlite(str(state / name).rsplit("-", 1)[0]):
            continue
        if is_sqlite(state / name):
            copy_spool(state / name, work / name)
        else:
            copy_file(state / name, work / name)


def snapshot(state, work):
    """Both databases as of one moment, and the files that go with it; returns how long writers were held up, in seconds."""
    with ExitStack() as stack:
        def connect(name):
            # Read and write, because a snapshot of a WAL database needs its -shm; never creates one.
            db = sqlite3.connect(f"file:{state / name}?mode=rw", uri=True, isolation_level=None, timeout=LOCK_WAIT_S)
            return stack.enter_context(closing(db))

        locks = [connect(name) for name in DATABASES]
        readers = [connect(name) for name in DATABASES]
        for db in locks:
            db.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        try:
            for db in readers:
                db.execute("BEGIN")
                db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the snapshot begins with the first read
            inbox = sum((state / n).stat().st_size for n in files_of(state, [INBOX]))
            if inbox < HELD_BYTES:
                copy_folders(state, work, INBOX)
        finally:
            held = time.monotonic() - began
            for db in locks:
                db.execute("ROLLBACK")
        copy_folders(state, work, *([INBOX] if inbox >= HELD_BYTES else []), *FOLDERS)
        if (state / "admin-password").is_file():
            copy_file(state / "admin-password", work / "admin-password")
        for name, db in zip(DATABASES, readers):
            with closing(sqlite3.connect(work / name)) as copy:
                db.backup(copy)  # of the open transaction: as of its begin, whatever was committed since
            if not sound(work / name):
                raise Failed(f"the copy of {name} is not sound; is the disk?")
    return held


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def pack(work, out, manifest):
    names = sorted(p.relative_to(work) for p in work.rglob("*") if p.is_file())
    manifest["files"] = {str(n): digest(work / n) for n in names}
    part = out.with_name(out.name + ".part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        with os.fdopen(os.open(part, flags, 0o600), "wb") as f:
            os.fchmod(f.fileno(), 0o600)  # it holds keys
            with tarfile.open(fileobj=f, mode="w:gz", compresslevel=1) as tar:
                text = json.dumps(manifest, indent=1).encode()
                info = tarfile.TarInfo("manifest.json")
                info.size, info.mode, info.mtime = len(text), 0o600, int(manifest["time"])
                tar.addfile(info, io.BytesIO(text))
                for n in names:
                    tar.add(work / n, str(n), recursive=False)
            f.flush()
            os.fsync(f.fileno())
        os.replace(part, out)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def backup(opt):
    state, out = Path(opt.state).resolve(), Path(opt.file).resolve()
    missing = [n for n in DATABASES if not (state / n).is_file()]
    if missing:
        raise Failed(f"{state} has no {missing[0]}: no state folder of ./longwave up, or its databases are on PostgreSQL "
                     "(then: docs/operations.md, Backup)")
    if out.is_relative_to(state):
        raise Failed("a backup inside the folder that it saves is lost with it: name another place")
    if not out.parent.is_dir():
        raise Failed(f"no folder {out.parent}")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix=".longwave-backup-", dir=out.parent) as folder:
        work = Path(folder)
        try:
            held = snapshot(state, work)
            pack(work, out, {"format": FORMAT, "time": time.time(), "commit": commit})
        except (OSError, sqlite3.Error) as e:
            raise Failed(f"backup: {e}") from None
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB; commits waited {held * 1000:.0f} ms")
    return 0


def unpack(path, work):
    try:
        with tarfile.open(path, "r:gz") as tar:
            members = tar.getmembers()
            for m in members:
                inside = (work / m.name).resolve()
                if not (m.isfile() and inside.is_relative_to(work)):
                    raise Failed(f"{path} is no backup of Longwave: {m.name!r} has no place in one")
            tar.extractall(work)
        manifest = json.loads((work / "manifest.json").read_text())
    except (tarfile.TarError, EOFError, KeyError, ValueError, FileNotFoundError, OSError) as e:
        raise Failed(f"{path} cannot be read as a backup: {e}") from None
    if manifest.get("format") != FORMAT:
        raise Failed(f"{path} has format {manifest.get('format')}; this version reads {FORMAT}")
    files = manifest.get("files", {})
    for name in DATABASES:
        if name not in files:
            raise Failed(f"{path} has no {name}")
    for name, want in files.items():
        if not (work / name).is_file() or digest(work / name) != want:
            raise Failed(f"{path}: {name} is damaged")
    (work / "manifest.json").unlink()
    return manifest


def restore(opt):
    state, path = Path(opt.state).resolve(), Path(opt.file).resolve()
    if state.exists() and (not state.is_dir() or any(state.iterdir())):
        raise Failed(f"{state} is not empty: a backup goes into an empty folder (move that one away, or name another with --state)")
    if not path.is_file():
        raise Failed(f"no file {path}")
    if opt.build_dir:
        out = Path(opt.build_dir).resolve()
    else:
        install("build", "run")
        out = build.cmake("release", "longwave-after-restore")
    os.umask(0o077)
    state.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, and moved there when all is done: a restore that was cut off leaves no half state to start from.
    work = Path(tempfile.mkdtemp(prefix=f".{state.name}-restore-", dir=state.parent))
    try:
        manifest = unpack(path, work)
        for name in DATABASES:
            if not sound(work / name):
                raise Failed(f"{path}: SQLite finds {name} damaged")
        tool = out / "bin" / "longwave-after-restore"
        done = subprocess.run([str(tool), "--jump", str(opt.jump), "--ns", f"sqlite://{work}/ns.db", "--app", f"sqlite://{work}/app.db"],
                              capture_output=True, text=True)
        if done.returncode:
            raise Failed(done.stderr.strip() or f"{tool} ended with {done.returncode}")
        for name in DATABASES:
            if not sound(work / name):
                raise Failed(f"{name} is damaged after the jump of counters")
        if state.exists():
            state.rmdir()
        os.replace(work, state)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    taken = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(manifest["time"]))
    say(f"{state}: as of {taken}; {done.stdout.strip()}")
    say("start it: ./longwave up --state " + str(opt.state))
    return 0


def main(verb, args):
    opt = parse(verb, args)
    return backup(opt) if verb == "backup" else restore(opt)
