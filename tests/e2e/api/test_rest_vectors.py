"""Replays the recorded REST calls of the reference in order: status, members, values. Identifiers and times differ by nature and
are compared as such; words of errors are ours. What differs otherwise is listed, with its reason, in
tests/vectors/intended-differences.json under "rest"."""

import json
import re
from pathlib import Path

from api.conftest import Stack

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


def name_of(call):
    return f"{call['method']} {call['path']}" + (f" - {call['note']}" if "note" in call else "")


class Replay:
    def __init__(self, stack, differences):
        self.stack, self.ids, self.vars = stack, {}, {}
        self.any = [d for d in differences if d["case"] == "*"]
        self.newer = {m for d in self.any for m in d.get("newer_members", [])}
        self.cases = {d["case"]: d for d in differences if d["case"] != "*"}
        self.used = set()

    def translate(self, v):
        """Recorded identifiers into ours."""
        if isinstance(v, dict):
            return {k: self.translate(x) for k, x in v.items()}
        if isinstance(v, list):
            return [self.translate(x) for x in v]
        return self.ids.get(v, v) if isinstance(v, str) else v

    def remember(self, call, want, got):
        parts = call["path"].split("?")[0].split("/")
        if call["method"] != "POST" or not isinstance(got, dict) or "code" in got:
            return
        kind = parts[2]
        if "id" in got and "id" in want:
            self.ids[want["id"]] = got["id"]
        if len(parts) != 3:
            return
        if "id" in got and "id" in want:
            self.vars.setdefault({"tenants": "t", "users": "u", "applications": "a", "device-profiles": "p",
                                  "multicast-groups": "m"}[kind], got["id"])
        elif kind == "gateways":
            self.vars.setdefault("gw" if "gw" not in self.vars else "gw2", call["request"]["gateway"]["gatewayId"])
        elif kind == "devices":
            self.vars.setdefault("dev", call["request"]["device"]["devEui"])

    def compare(self, where, want, got, ignore):
        if where in ignore:
            return []
        if isinstance(want, dict) and isinstance(got, dict):
            out = [f"{where}/{k} is missing" for k in want.keys() - got.keys() if f"{where}/{k}" not in ignore]
            out += [f"{where}/{k} is new" for k in got.keys() - want.keys() - self.newer if f"{where}/{k}" not in ignore]
            for k in want.keys() & got.keys():
                out += self.compare(f"{where}/{k}", want[k], got[k], ignore)
            return out
        if isinstance(want, list) and isinstance(got, list):
            if len(want) != len(got):
                return [f"{where}: {len(got)} items, not {len(want)}"]
            return [d for i, (a, b) in enumerate(zip(want, got)) for d in self.compare(f"{where}/{i}", a, b, ignore)]
        if isinstance(want, str) and isinstance(got, str) and TIME.match(want) and TIME.match(got):
            return []
        return [] if want == got and type(want) is type(got) else [f"{where}: {got!r}, not {want!r}"]

    def run(self, call):
        case = self.cases.get(name_of(call), {})
        self.used.add(name_of(call))
        path = re.sub(r"\{(\w+)\}", lambda m: self.vars.get(m[1], m[0]), call["path"])
        client = self.stack.rest if call.get("note") == "no token" else self.stack.admin
        if call.get("note") == "bad token":
            client = self.stack.rest.with_token("x")
        status, got = client.request(call["method"], path, self.translate(call.get("request")), call.get("request_text"))
        want_status = case.get("status", call["status"])
        if status != want_status:
            return [f"status {status}, not {want_status}: {got}"]
        want = self.translate(case.get("response", call["response"]))
        self.remember(call, call["response"], got)
        if status >= 400:
            shape = sorted(got) == ["code", "details", "message"] and got["details"] == [] and got["message"]
            if status != call["status"]:
                return [] if shape else [f"not an error body: {got}"]
            return [] if shape and got["code"] == want["code"] else [f"error body {got}, not {want}"]
        return self.compare("", self.translate(want), got, set(case.get("ignore", [])))


def test_replay(tmp_path, procs):
    stack = Stack(tmp_path)
    procs.append(stack)
    recording = json.loads((VECTORS / "rest.json").read_text())
    differences = json.loads((VECTORS / "intended-differences.json").read_text())["rest"]
    r = Replay(stack, differences)
    found = {}
    for i, call in enumerate(recording["calls"]):
        wrong = r.run(call)
        if wrong:
            found[f"{i}: {name_of(call)}"] = wrong
    assert not found, json.dumps(found, indent=1)
    assert not set(r.cases) - r.used, "differences that no call has"
