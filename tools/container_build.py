"""Builds inside the image: binaries, web UI, and the list of packages that the binaries' libraries come from."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools/cli"))

import build  # noqa: E402
from machine import main_guard  # noqa: E402


def runtime_packages(binaries):
    libs = set()
    for b in binaries:
        out = subprocess.run(["ldd", str(b)], capture_output=True, text=True, check=True).stdout
        libs |= {m.group(1) for m in re.finditer(r"=> (/\S+)", out)}
    names = set()
    for lib in libs:
        # A merged /usr may list the file under either path.
        for path in (lib, lib.removeprefix("/usr"), "/usr" + lib):
            out = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True)
            if out.returncode == 0:
                names.add(out.stdout.split(":")[0])
                break
        else:
            raise SystemExit(f"no package owns {lib}")
    return sorted(names)


def main():
    out = Path(sys.argv[1])
    built = build.cmake("release")
    (out / "bin").mkdir(parents=True)
    binaries = []
    for d in build.DAEMONS:
        target = out / "bin" / f"longwave-{d}"
        shutil.copy(built / "bin" / target.name, target)
        subprocess.run(["strip", "--strip-debug", str(target)], check=True)
        binaries.append(target)
    shutil.copytree(build.ui(built), out / "ui")
    # libpq is loaded at run time, so ldd does not see it.
    (out / "packages.txt").write_text("\n".join([*runtime_packages(binaries), "libpq5"]) + "\n")
    return 0


sys.exit(main_guard(main))
