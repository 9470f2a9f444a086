"""docs/conformance.md from the comments of the network-server's stories.

    conformance.py [--check]

A story is a test function of tests/scenario/network-server; its name and the comment before it say what it shows, "spec: …" which
section of the standard asks for it ("DOCUMENT §1.2, §3: remark; DOCUMENT §4", or "none: why"), "rows: …" which rows of
tests/scenario/rows.txt it covers. "spec:" in a file's first comment holds for its stories that say nothing else. --check writes
nothing: fails when the page is not what the stories say, a row has no story, a story names no section, one that is not in SECTIONS
below, or a row that is not there."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STORIES = ROOT / "tests/scenario/network-server"
ROWS = ROOT / "tests/scenario/rows.txt"
PAGE = ROOT / "docs/conformance.md"
FUNCTION = re.compile(r"((?:/\*(?:(?!\*/).)*\*/\n)*)static void (\w+)\(void \*\*state\)\n\{", re.S)
LEAST = 80  # stories; fewer: this reads them no more

# What the stories may name: document, section, title. "?": number and title are from memory; nothing was at hand to check them.
# "~": found not in the document's own text, but in what cites it (errata, other editions, chip makers), or given by its place between
# sections that were found. The others were found under this number in published text of the document (November 2026).
SECTIONS = """
TS001-1.0.4   3.3      Receive windows
TS001-1.0.4   4        MAC frame formats
TS001-1.0.4   4.2.1    Frame type
TS001-1.0.4   4.3      MAC payload of data frames
TS001-1.0.4   4.3.1.1  Adaptive data rate
TS001-1.0.4   4.3.1.2  Acknowledge bit and acknowledgment procedure
TS001-1.0.4   4.3.1.4  Frame pending bit
TS001-1.0.4   4.3.1.5  Frame counter
TS001-1.0.4   4.3.1.6  Frame options
TS001-1.0.4   4.3.1.7  Class B enabled bit
TS001-1.0.4   4.3.2    Port field
TS001-1.0.4   4.3.3    Encryption of the payload
TS001-1.0.4   4.4      Message integrity code
TS001-1.0.4   5        MAC commands
TS001-1.0.4   5.1      Link check
TS001-1.0.4   5.2      Link ADR
TS001-1.0.4   5.4      Receive window parameters
TS001-1.0.4   5.5      Device status
TS001-1.0.4   5.6      Creation and modification of a channel
TS001-1.0.4   5.7      Delay between TX and RX
TS001-1.0.4   5.8      Transmission parameters
TS001-1.0.4   5.9      Device time
TS001-1.0.4   6.2      Over-the-air activation
TS001-1.0.4   6.2.5    Join-request
TS001-1.0.4 ~ 6.2.6    Join-accept
TS001-1.0.4   7        Back-off of retransmissions
TS001-1.0.4   9.2      Class B: downlink frames
TS001-1.0.4   9.3      Class B: unicast and multicast pings
TS001-1.0.4   9.3.1    Class B: unicast pings
TS001-1.0.4   11.2     Class B: slot randomization
TS001-1.0.4   12.1     PingSlotInfoReq
TS001-1.0.4   12.2     BeaconFreqReq
TS001-1.0.4 ~ 12.3     PingSlotChannelReq
TS001-1.0.4   15       Class C
TS001-1.1     4.3.1.2  Acknowledgment
TS001-1.1     4.3.1.4  Frame pending bit
TS001-1.1     4.3.1.5  Frame counters
TS001-1.1     4.3.1.6  Frame options, encrypted
TS001-1.1     4.4.2    Message integrity code of uplinks
TS001-1.1     5.1      ResetInd
TS001-1.1     5.7      Creation and modification of a channel
TS001-1.1     5.10     RekeyInd
TS001-1.1     6.2.2    Join-request
TS001-1.1     6.2.3    Join-accept
TS001-1.1     6.2.4    Rejoin-request
TS001-1.1     6.2.4.1  Rejoin-request types 0 and 2
TS001-1.1     6.2.4.2  Rejoin-request type 1
TS001-1.1     18.1     DeviceModeInd
LoRaWAN 1.0.1   7.5.7  AU915: receive windows
LoRaWAN 1.0.3 ~ 6.2.4  Join-request
LoRaWAN 1.0.3   14     Class B MAC commands
RP002-1.0.4   2        Regional parameters
RP002-1.0.4   2.3      Default settings
RP002-1.0.4   2.3.2    CFList type 1 of the join-accept
RP002-1.0.4 ~ 2.4      EU868
RP002-1.0.4 ~ 2.4.2    EU868: channel frequencies
RP002-1.0.4 ~ 2.8.7    AU915: receive windows
EN 300 220-2 V3.2.1 ? 4.3.3  Duty cycle
"""
CHECKED = {None: "", "~": "*by citation*", "?": "*from memory*"}


def notes(comment):
    """(prose, spec, [row keys]) of a comment. The marks may stand in the middle of a line, where a formatter has put them."""
    text = " ".join(re.sub(r"^\s*(/\*|\*)?", "", re.sub(r"\*/\s*$", "", line)).strip() for line in comment.splitlines())
    first, *marked = re.split(r"(?:^|\s)(spec|rows):\s", text)
    spec, rows = None, []
    for mark, value in zip(marked[::2], marked[1::2]):
        if mark == "spec":
            spec = value.strip()
        else:
            rows += value.split()
    prose = re.sub(r"^(and|or|plus) ", "", re.sub(r"\[[^]]*\][:,]?\s*", "", first))
    return prose.strip(), spec, rows


def what(name, prose):
    words = name.replace("_", " ")
    return (words[0].upper() + words[1:] + (": " + prose if prose else "")).strip()


def faults(text):
    """The names in a table of injected faults."""
    found = re.search(r"struct fault FAULTS\[\] = \{(.*?)^\};", text, re.S | re.M)
    return re.findall(r'^\t\{"([^"]+)"', found[1], re.M) if found else []


def stories():
    for path in sorted(STORIES.glob("test_*.c")):
        text = path.read_text()
        head = notes(text[:text.index("*/") + 2])[1]
        used = set(re.findall(r"(?:cmocka_unit_test\w*|TEST|STORY|T)\((\w+)", text))
        for comment, name in FUNCTION.findall(text):
            if name not in used:
                continue
            prose, spec, rows = notes(comment)
            if name == "faults_are_named":
                names = faults(text)
                prose += f" {len(names)} of them: " + "; ".join(names) + "."
            yield {"file": path.name, "name": name, "what": what(name, prose), "spec": spec or head, "rows": rows}


def sections():
    """{(document, section): (title, how it was checked)}."""
    out = {}
    for line in SECTIONS.strip().splitlines():
        m = re.fullmatch(r"(TS001-\S+|RP002-\S+|LoRaWAN \S+|EN \S+ \S+ \S+) +([?~])? *([\d.]+) +(.+)", line)
        out[m[1], m[3]] = m[4], CHECKED[m[2]]
    return out


def cited(spec):
    """[(document, section)] of a "spec:" note; None: it is not of the form."""
    out = []
    for part in spec.split("; "):
        if part.startswith("none: "):
            continue
        m = re.match(r"([A-Z][\w.-]+(?: V?[\d.-]+)*) (§.*)", part)
        if not m:
            return None
        out += [(m[1], s) for s in re.findall(r"§([\d.]*\d)", m[2])]
    return out


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
    named = {c for s in found for c in cited(s["spec"] or "") or []}
    out += ["\n## Sections\n", "That the stories name, under numbers found in published text of the document. *By citation*: its own text "
            "was not at hand; what cites it, or the sections around it, give the number. *From memory*: nothing could be found.\n",
            "| Document | Section | Title | |", "|---|---|---|---|"]
    out += [f"| {doc} | §{number} | {title} | {checked} |"
            for (doc, number), (title, checked) in sections().items() if (doc, number) in named]
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
    known = sections()
    for s in found:
        where = f"{s['file']}: {s['name']}"
        if not s["spec"] or cited(s["spec"]) is None:
            bad.append(f"{where}: no spec: note, or none of the form: {s['spec']}")
            continue
        bad += [f"{where}: tools/conformance.py has no {doc} §{number}" for doc, number in cited(s["spec"]) if (doc, number) not in known]
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
