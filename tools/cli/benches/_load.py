"""The rows of the table that tests/bench/load.c drives: a stack with a tenant, gateways and profiles, and its verbs."""

import json
import subprocess

from machine import Failed
from provision import _ensure, _parallel, plan

TARGETS = ["longwave-load"]
GATEWAYS = 100


class Load:
    """Prepares a stack once; run() is one call of longwave-load inside a Measure."""

    def __init__(self, ctx, stack):
        self.ctx, self.stack = ctx, stack
        self.tool = str(ctx.out / "bin" / "longwave-load")
        self.api = stack.api()
        self.tenant = _ensure(self.api, "/api/tenants", "tenant", {"name": "Simulation", "canHaveGateways": True})
        self.application = _ensure(self.api, "/api/applications", "application", {"name": "bench", "tenantId": self.tenant},
                                   tenantId=self.tenant)
        gateways, _ = plan(ctx.out / "bin" / "longwave-sim", ["--gateways", str(GATEWAYS), "--devices", "1"])
        _parallel(self.api, gateways, lambda api, row: api.call("POST", "/api/gateways", {"gateway": {
            "gatewayId": row["gateway"], "name": row["gateway"], "tenantId": self.tenant, "statsInterval": 30}}, ok=(200, 409)))

    def profile(self, name, **kw):
        return _ensure(self.api, "/api/device-profiles", "deviceProfile", {
            "name": name, "tenantId": self.tenant, "region": "EU868", "macVersion": "LORAWAN_1_0_3", "uplinkInterval": 3600,
            "regParamsRevision": "RP002_1_0_3", "adrAlgorithmId": "default", **kw}, tenantId=self.tenant)

    def run(self, verb, *args):
        """The verb's JSON, with cpu_us: per what was done, by process."""
        s = self.stack
        argv = [self.tool, verb, "--server", s.udp, "--grpc", f"127.0.0.1:{s.ports['grpc']}", "--token", self.api.token,
                "--application", self.application, "--broker", s.mqtt, "--gateways", GATEWAYS, *args]
        with s.measure() as m:
            done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, text=True, check=False)
        if not done.stdout:
            raise Failed(f"longwave-load {verb} ended with {done.returncode}")
        r = json.loads(done.stdout)
        n = max(1, r.get("devices") or r.get("accepted") or r.get("sent") or 1)
        r["cpu_us"] = {name: v * 1e6 / n for name, v in m.cpu_s.items()}
        r["rss_mb"] = m.rss_mb
        return r

    def register(self, devices, seed, profile, *args):
        return self.run("register", "--devices", devices, "--seed", seed, "--profile", profile, *args)


def print_cpu(r):
    print("            CPU, us each: " + "  ".join(f"{n} {v:.0f}" for n, v in r["cpu_us"].items()) + f"  together "
          f"{sum(r['cpu_us'].values()):.0f}", flush=True)
