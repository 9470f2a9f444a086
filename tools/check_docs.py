"""Checks that the documentation agrees with the program; --fix writes what is generated.

    check_docs.py BUILD_DIR [--fix]

docs/settings.md against the daemons' own tables; the steps in docs/flow.md against the flow tables in the sources; files and
pages that the documentation names against those that are there. Never reads or changes anything else.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DAEMONS = ["gateway-bridge", "network-server", "app-server", "geo-server"]
SETTINGS = ROOT / "docs/settings.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md")),
         *sorted((ROOT / "deploy").rglob("*.md"))]
TABLES = ["gateway-bridge/flow/*.c", "network-server/flow/*.c", "app-server/flow/*.c"]


def settings(build):
    parts = ["# Settings\n\nWritten by `./longwave docs` from the tables in the sources. How they are given: "
             "[configuration.md](configuration.md).\n"]
    for d in DAEMONS:
        run = subprocess.run([str(build / "bin" / f"longwave-{d}"), "--print-docs"], capture_output=True, text=True, check=True)
        parts.append(f"## {d}\n\n{run.stdout.strip()}\n")
    return "\n".join(parts)


def steps():
    """(file, step) of every row of every flow table."""
    for pattern in TABLES:
        for path in sorted(ROOT.glob(pattern)):
            for table in re.findall(r"struct rt_flow_step \w+\[\] = \{(.*?)\n\};", path.read_text(), re.S):
                for name in re.findall(r'\{(?:\.name = )?"([^"]+)"', table):
                    yield path.relative_to(ROOT), name


def problems(build):
    found = []
    if not SETTINGS.exists() or SETTINGS.read_text() != settings(build):
        found.append("docs/settings.md is not what the daemons print: ./longwave docs")
    flow = (ROOT / "docs/flow.md").read_text()
    rows = list(steps())
    if len(rows) < 40:
        found.append(f"only {len(rows)} steps of flows found in the sources: tools/check_docs.py reads them no more")
    for path, name in rows:
        if not re.search(rf"\b{re.escape(name)}\b", flow):
            found.append(f"docs/flow.md does not name the step {name!r} of {path}")
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            if not (page.parent / link).exists():
                found.append(f"{page.relative_to(ROOT)}: no file {link}")
        for name in re.findall(r"`((?:common|proto|sql|tools|deploy|docs|tests|[a-z]+-(?:server|bridge))/[\w./-]*\w/?)`", text):
            if not (ROOT / name).exists():
                found.append(f"{page.relative_to(ROOT)}: no file {name}")
    return found


def main():
    args = [a for a in sys.argv[1:] if a != "--fix"]
    if len(args) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    build = Path(args[0])
    if "--fix" in sys.argv:
        SETTINGS.write_text(settings(build))
    found = problems(build)
    for text in found:
        print(text)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
