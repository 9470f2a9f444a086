"""A webhook's receiver, as a process that can be killed: each event is in its file before it answers 200.
Usage: receiver.py PORT FILE"""

import http.server
import json
import os
import sys
import threading

lock = threading.Lock()
out = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = json.dumps({"path": self.path, "key": self.headers.get("Idempotency-Key"), "event": json.loads(body)})
        with lock:
            os.write(out, line.encode() + b"\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
