"""A REST client as anybody would write one."""

import json

import requests

from lw.procs import PATIENCE_S


class Rest:
    def __init__(self, base, token=None):
        self.base, self.token, self.http = base, token, requests.Session()

    def request(self, method, path, body=None, text=None, headers=None):
        """Status and decoded JSON."""
        h = {"authorization": f"Bearer {self.token}"} if self.token else {}
        h.update(headers or {})
        data = text if text is not None else json.dumps(body) if body is not None else None
        r = self.http.request(method, self.base + path, data=data, headers=h, timeout=PATIENCE_S)
        return r.status_code, r.json() if r.content else None

    def call(self, method, path, body=None, expect=200):
        status, answer = self.request(method, path, body)
        assert status == expect, f"{method} {path}: {status} {answer}"
        return answer

    def get(self, path, expect=200):
        return self.call("GET", path, expect=expect)

    def post(self, path, body=None, expect=200):
        return self.call("POST", path, body if body is not None else {}, expect)

    def put(self, path, body, expect=200):
        return self.call("PUT", path, body, expect)

    def delete(self, path, expect=200):
        return self.call("DELETE", path, expect=expect)

    def login(self, email, password):
        return Rest(self.base, self.post("/api/internal/login", {"email": email, "password": password})["jwt"])

    def with_token(self, token):
        return Rest(self.base, token)
