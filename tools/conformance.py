"""docs/conformance.md from the comments of the network-server's stories.

    conformance.py [--check]

A story is a test function of tests/scenario/network-server; the comment before it says what it shows, "spec: …" which section
of the standard asks for it, "rows: …" which rows of tests/scenario/rows.txt it covers. "spec:" in a file's first comment holds
for its stories that say nothing else. --check writes nothing: fails when the page is not what the stories say, a row has no
story, a row's story names no section or a story a row that is not there."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STORIES = ROOT / "tests/scenario/network-server"
ROWS = ROOT / "tests/scenario/rows.txt"
PAGE = ROOT / "docs/conformance.md"
FUNCTION = re.compile(r"((?:/\*(?:(?!\*/).)*\*/\n)*)static void (\w+)\(void \*\*state\)\n\{", re.S)
LEAST = 80  # stories; fewer: this reads them no more


def notes(comment):
    """(prose, spec, [row keys]) of a comment."""
    lines = [re.sub(r"^\s*(/\*|\*)? ?|\s*\*/\s*$", "", line).strip() for line in comment.splitlines()]
    prose, spec, rows = [], None, []
    for line in lines:
        if line.startswith("spec:"):
            spec = line[5:].strip()
        elif line.startswith("rows:"):
            rows += line[5:].split()
        elif line:
            prose.append(line)
    text = re.sub(r"^(and|or|plus) ", "", re.sub(r"\[[^]]*\][:,]?\s*", "", " ".join(prose)))
    return text.strip(), spec, rows


def stories():
    for path in sorted(STORIES.glob("test_*.c")):
        text = path.read_text()
        head = notes(text[:text.index("*/") + 2])[1]
        used = set(re.findall(r"(?:cmocka_unit_test\w*|TEST|STORY|T)\((\w+)", text))
        for comment, name in FUNCTION.findall(text):
            if name not in used:
                continue
            prose, spec, rows = notes(comment)
            yield {"file": path.name, "name": name, "what": prose or name.replace("_", " "), "spec": spec or head, "rows": rows}


def table():
    why, rows = {}, []
    for line in ROWS.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        cells = [c.strip() for c in line.lstrip("! ").split("|")]
        if line.startswith("!"):
            why[cells[0]] = cells[1]
        else:
            rows.append(cells)
    return why, rows


def cell(text):
    return text.replace("|", "\\|")


def page(found, why, rows):
    out = ["# Conformance\n", "Written by `python3 tools/conformance.py` from the comments of the stories in "
           "`tests/scenario/network-server/`; each runs on the virtual clock in `./longwave test scenario`.\n",
           "## Behaviour\n", "| Behaviour | Specification | Story |", "|---|---|---|"]
    out += [f"| {cell(s['what'])} | {cell(s['spec'] or '')} | {s['file']}: `{s['name']}` |" for s in found]
    out += ["\n## The reference's scenarios\n", "Sections 8.1 (v4) and 8.3 (v3) of reference-system.md.\n",
            "| Section | Suite | Scenario | Story |", "|---|---|---|---|"]
    for section, suite, scenario, key in rows:
        if key.startswith("!"):
            continue
        by = ", ".join(f"{s['file']}: `{s['name']}`" for s in found if key in s["rows"])
        out.append(f"| {section} | {cell(suite)} | {cell(scenario)} | {by or '**none**'} |")
    out += ["\n## Without a story\n", "| Section | Suite | Scenario | Why |", "|---|---|---|---|"]
    out += [f"| {r[0]} | {cell(r[1])} | {cell(r[2])} | {cell(why[r[3][1:]])} |" for r in rows if r[3].startswith("!")]
    return "\n".join(out) + "\n"


def problems(found, why, rows):
    keys = {r[3] for r in rows}
    claimed = {k for s in found for k in s["rows"]}
    bad = [f"tests/scenario/rows.txt: {k} names no reason" for k in keys if k.startswith("!") and k[1:] not in why]
    bad += [f"no story for the row {' / '.join(r[:3])} ({r[3]})" for r in rows if not r[3].startswith("!") and r[3] not in claimed]
    bad += [f"{s['file']}: {s['name']}: no row {k}" for s in found for k in s["rows"] if k not in keys]
    bad += [f"{s['file']}: {s['name']}: a row's story without a spec: note" for s in found if s["rows"] and not s["spec"]]
    if len(found) < LEAST or len(rows) < 140:
        bad.append(f"{len(found)} stories and {len(rows)} rows found: tools/conformance.py reads them no more")
    return bad


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    found, (why, rows) = list(stories()), table()
    bad = problems(found, why, rows)
    text = page(found, why, rows)
    if sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text:
            bad.append("docs/conformance.md is not what the stories say: python3 tools/conformance.py")
    else:
        PAGE.write_text(text)
    for line in bad:
        print(line)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
