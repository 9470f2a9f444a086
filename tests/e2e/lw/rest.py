"""A REST client as anybody would write one."""

import json
import time

import requests

from lw.procs import PATIENCE_S

REST_S = 30  # servers end a connection that has been idle for 60 s, and a request must not meet just that moment


class Rest:
    def __init__(self, base, token=None):
        self.base, self.token, self.http = base, token, requests.Session()
        self._used = time.monotonic()

    def request(self, method, path, body=None, text=None, headers=None):
        """Status and decoded JSON (the text where it is none)."""
        h = {"authorization": f"Bearer {self.token}"} if self.token else {}
        h.update(headers or {})
        data = text if text is not None else json.dumps(body) if body is not None else None
        if time.monotonic() - self._used > REST_S:
            self.http.close()  # its connections; the next request opens one
        r = self.http.request(method, self.base + path, data=data, headers=h, timeout=PATIENCE_S)
        self._used = time.monotonic()
        try:
            return r.status_code, r.json() if r.content else None
        except ValueError:
            return r.status_code, r.text

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
