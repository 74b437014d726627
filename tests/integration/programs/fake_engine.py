"""A program with a live API and an engine thread, for faults: `fake_engine.py --port N [--switch]`.

Three threads: the main one waits for signals, one answers HTTP, one "decodes" outside the interpreter's lock and
counts its steps. GET /health says ok, /steps the count, /open opens a file, /say prints a line.
SIGTERM waits for the step under way.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

steps = 0


def decode() -> None:
    """Hash 32 MiB a step (some dozen milliseconds without the lock, so that hardly a freeze meets it with the lock)."""
    global steps
    block = b"x" * (32 * 1024 * 1024)
    while True:
        hashlib.sha256(block).digest()
        steps += 1


def leave() -> None:
    """As our replicas do: what the engine has begun is finished first."""
    begun = steps
    while steps == begun:
        time.sleep(0.005)
    os._exit(0)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = 200, "ok"
        if self.path == "/steps":
            body = str(steps)
        elif self.path == "/open":
            try:
                os.close(os.open("/dev/null", os.O_RDONLY))
            except OSError as error:
                status, body = 500, str(error)
        elif self.path == "/say":
            print("said", flush=True)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--switch", action="store_true", help="arm the fault switch of our own programs")
    options = parser.parse_args()
    if options.switch:
        from backend.serving import fault_switch

        fault_switch.install()
    signal.signal(signal.SIGTERM, lambda *_: leave())
    server = Server(("127.0.0.1", options.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=decode, daemon=True).start()
    print(f"serving as {os.getpid()}", flush=True)
    while True:
        time.sleep(0.05)  # not `pause`: a signal just before it would be noticed at the next one only


if __name__ == "__main__":
    main()
