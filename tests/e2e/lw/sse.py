"""Server-sent events, as a browser reads them."""

import http.client
import json
import socket
import threading
from types import SimpleNamespace
from urllib.parse import urlsplit

from lw.procs import PATIENCE_S


class Stream:
    """An open stream; keeps all that came."""

    def __init__(self, rest, path, last_id=None):
        headers = {"authorization": f"Bearer {rest.token}"} if rest.token else {}
        if last_id:
            headers["last-event-id"] = last_id
        self._conn = http.client.HTTPConnection(urlsplit(rest.base).netloc, timeout=PATIENCE_S)
        self._conn.request("GET", path, headers=headers | {"accept": "text/event-stream"})
        self._sock = self._conn.sock
        self._r = self._conn.getresponse()
        self.status = self._r.status
        self._got, self._changed = [], threading.Condition()
        if self.status == 200:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        event = {}
        try:
            for line in iter(self._r.readline, b""):
                line = line.decode().rstrip("\r\n")
                if line == "":
                    if "data" in event:
                        with self._changed:
                            self._got.append(SimpleNamespace(id=event.get("id"), name=event.get("event", "message"),
                                                             data=json.loads(event["data"])))
                            self._changed.notify_all()
                    event = {}
                elif not line.startswith(":"):
                    key, _, value = line.partition(":")
                    event[key] = (event[key] + "\n" if key == "data" and key in event else "") + value.removeprefix(" ")
        except (OSError, http.client.HTTPException, ValueError):
            pass  # closed

    def wait(self, wanted, timeout=PATIENCE_S):
        """The first message for which wanted(m) holds."""
        def find():
            return next((m for m in self._got if wanted(m)), None)

        with self._changed:
            assert self._changed.wait_for(find, timeout), f"there are {self._got}"
            return find()

    def close(self):
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
