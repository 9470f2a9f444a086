#!/usr/bin/env python3
"""Checks who includes whom.

Without options: the layers of the source (architecture, section 6), the places of third-party headers, and that project
headers are included by their full path. With --headers: every header compiles alone, with gcc or clang as in --cc.
Prints one line per finding and ends with status 1 when there is one.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DAEMONS = ["gateway-bridge", "network-server", "app-server", "geo-server"]
SCAN = ["common", *DAEMONS, "tools", "tests"]

# folder: what it may include besides itself. The longest matching folder counts.
ALLOW = {
    "common/base": [],
    "common/crypto": ["common/base"],
    "common/lorawan": ["common/base", "common/crypto"],
    "common/pb": ["common/base", "common/crypto", "proto"],
    "common/runtime": ["common/base"],
    "common/io": ["common/base", "common/crypto", "common/pb", "common/runtime", "proto"],
}
COMMON = [*ALLOW, "proto"]
PURE = ["common/base", "common/crypto", "common/lorawan", "common/pb", "proto"]
for d in DAEMONS:
    # What lies at the top of a daemon: main, the owner struct that is passed down, its configuration. It sees all of the
    # daemon, and all but the pure folders see it.
    ALLOW[d] = [*COMMON, d]
    ALLOW[f"{d}/wire"] = PURE
    ALLOW[f"{d}/domain"] = [*PURE, f"{d}/wire"]
    ALLOW[f"{d}/store"] = [*COMMON, d, f"{d}/domain", f"{d}/wire"]
    # Requests that come in over a link read the store without a flow.
    ALLOW[f"{d}/link"] = [*COMMON, d, f"{d}/domain", f"{d}/wire", f"{d}/store"]
    # Where events go besides the broker: a spool and its senders.
    ALLOW[f"{d}/integration"] = [*COMMON, d, f"{d}/domain", f"{d}/store"]
    ALLOW[f"{d}/flow"] = [*COMMON, d, f"{d}/domain", f"{d}/wire", f"{d}/store", f"{d}/integration", f"{d}/link"]

# header (prefix): the files that may include it. A folder with a trailing "/" means the .c files directly or below.
THIRD = {
    "uv.h": ["common/runtime/", "common/io/"] + [f"{d}/link/" for d in DAEMONS],
    "yaml.h": ["common/runtime/"],
    "openssl/": ["common/crypto/", "common/io/"],
    "hiredis/": ["common/io/"],
    "libpq-fe.h": ["common/io/"],
    "postgresql/": ["common/io/"],
    "sqlite3.h": ["common/io/"],
    "nghttp2/": ["common/io/"],
    "microhttpd.h": ["common/io/"],
    "curl/": ["common/io/"],
}
# Headers that only one adapter's own files include may show its library.
PRIVATE = re.compile(r"^common/(io|runtime)/(.*_(internal|impl)|grpc_h2|(pq|curl)_api)\.h$")
# Included file: why everything of its daemon may include it in spite of the arrows.
INTERFACES = {
    "network-server/flow/ports.h": "what the flows ask of store and link, as function tables; includes neither",
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"]+)[>"]', re.M)


def sources():
    for top in SCAN:
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".c", ".h", ".def") and "node_modules" not in path.parts:
                yield path.relative_to(ROOT)


def folder_of(name):
    """The longest known folder that the file lies in, or None."""
    best = None
    for folder in [*ALLOW, "proto"]:
        if name.startswith(folder + "/") and (best is None or len(folder) > len(best)):
            best = folder
    return best


def may_include(name, target):
    own, other = folder_of(name), folder_of(target)
    if own is None or other is None:
        return True
    allowed = [own, *ALLOW[own]]
    if target in INTERFACES and target.split("/")[0] == name.split("/")[0]:
        return True
    if own in DAEMONS:
        return any(other == a or other.startswith(a + "/") for a in allowed)
    return other in allowed


def check_third_party(name, target):
    for prefix, places in THIRD.items():
        if target == prefix or (not prefix.endswith(".h") and target.startswith(prefix)):
            if name.startswith(("tests/", "tools/")):
                return None
            if (name.endswith(".c") or PRIVATE.match(name)) and name.startswith(tuple(places)):
                return None
            return f"<{target}> belongs into the .c files of {', '.join(places)}"
    return None


def check_file(path):
    name = path.as_posix()
    text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
    found = []
    if path.suffix == ".h" and "#pragma once" not in text:
        found.append("no #pragma once")
    for mark, target in INCLUDE.findall(text):
        problem = check_third_party(name, target)
        if problem:
            found.append(problem)
        if mark != '"':
            continue
        # Parts of one test stand side by side.
        if name.startswith("tests/") and (ROOT / path.parent / target).is_file():
            continue
        generated = target.startswith(("proto/", "google/")) or target.endswith(".pb-c.h")
        if not generated and not (ROOT / target).is_file():
            found.append(f'"{target}" is not a path from the root')
        elif not name.startswith(("tests/", "tools/")) and not may_include(name, target):
            found.append(f'"{target}": {folder_of(name)} must not include {folder_of(target)}')
    return [f"{name}: {problem}" for problem in found]


def flags_from(build):
    """Include paths and definitions of the whole build, from its compilation database."""
    database = pathlib.Path(build) / "compile_commands.json"
    flags = []
    if database.is_file():
        for entry in json.loads(database.read_text()):
            words = shlex.split(entry["command"])
            for i, word in enumerate(words):
                take = [word, words[i + 1]] if word == "-isystem" else [word] if word.startswith("-I") else []
                if take and take not in flags:
                    flags.append(take)
    return [word for pair in flags for word in pair]


def check_header(path, cc, flags):
    command = [cc, "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT}", *flags,
               "-xc", "-"]
    result = subprocess.run(command, input=f'#include "{path.as_posix()}"\n', text=True, capture_output=True, check=False)
    if result.returncode == 0:
        return []
    return [f"{path}: does not compile alone: {result.stderr.strip().splitlines()[0]}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--headers", action="store_true", help="compile each header alone")
    parser.add_argument("--cc", default=os.environ.get("CC", "cc"))
    parser.add_argument("--build", default="build/dev", help="build folder, for the include paths and generated headers")
    args = parser.parse_args()

    files = list(sources())
    if args.headers:
        files = [f for f in files if f.suffix == ".h" and not f.as_posix().startswith("tests/")]
        flags = flags_from(args.build)
        with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            results = pool.map(lambda f: check_header(f, args.cc, flags), files)
    else:
        results = map(check_file, files)
    findings = [line for result in results for line in result]
    for line in findings:
        print(line)
    print(f"{len(files)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
