"""Builds inside the image: binaries, web UI, and the list of packages that the binaries' libraries come from.

    container_build.py --ui-modules    the web UI's npm packages only, as a layer of their own
    container_build.py OUT             everything, into OUT
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools/cli"))

import build  # noqa: E402
from machine import main_guard  # noqa: E402


def libraries(binary):
    """Paths of what the program is linked with, and of what it names to load later (libpq)."""
    def linked(path):
        out = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=True).stdout
        return {m.group(1) for m in re.finditer(r"=> (/\S+)", out)}

    libs = linked(binary)
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for name in set(re.findall(rb"lib[a-z0-9_+-]+\.so\.[0-9]+", binary.read_bytes())):
        at = re.search(rf"^\s*{re.escape(name.decode())} .*=> (/\S+)$", cache, re.M)
        if at:
            libs |= {at.group(1)} | linked(at.group(1))
    return libs


def runtime_packages(binaries):
    libs = set().union(*map(libraries, binaries))
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
    if sys.argv[1:] == ["--ui-modules"]:
        if (build.UI / "package.json").exists():
            build.ui_modules()
        return 0
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    out = Path(sys.argv[1])
    names = [f"longwave-{d}" for d in build.DAEMONS] + ["longwave-sim", "longwave-after-restore"]
    built = build.cmake("release", *names, "lw-openapi")
    (out / "bin").mkdir(parents=True)
    binaries = []
    for name in names:
        target = out / "bin" / name
        shutil.copy(built / "bin" / name, target)
        subprocess.run(["strip", "--strip-debug", str(target)], check=True)
        binaries.append(target)
    ui = build.ui(built)
    if ui is None:
        (out / "ui").mkdir()
    else:
        shutil.copytree(ui, out / "ui", ignore=shutil.ignore_patterns(".longwave-sources"))
    (out / "packages.txt").write_text("\n".join(runtime_packages(binaries)) + "\n")
    return 0


sys.exit(main_guard(main))
