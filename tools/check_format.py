"""Every C source as clang-format would write it. With --fix it is written that way."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ["common", "gateway-bridge", "network-server", "app-server", "geo-server", "tools", "tests"]


def sources():
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS], cwd=ROOT,
                         capture_output=True, text=True, check=True).stdout
    return [f for f in out.split() if f.endswith((".c", ".h")) and (ROOT / f).exists()]


def main():
    mode = ["-i"] if "--fix" in sys.argv else ["--dry-run", "-Werror"]
    files = sources()
    if not files:
        print("check_format: no sources found")
        return 1
    code = 0
    for i in range(0, len(files), 50):
        code |= subprocess.run(["clang-format", *mode, *files[i:i + 50]], cwd=ROOT).returncode
    if not code:
        print(f"check_format: {len(files)} files")
    return code


sys.exit(main())
