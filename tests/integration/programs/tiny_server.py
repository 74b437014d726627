"""A tiny HTTP server for shim and fleet tests: `tiny_server.py [--fd N | --port N] [options]`.

Answers GET /pid, /ok (readiness file), /metrics (llamacpp gauges), /eat?mb=N, /exit?code=N, /say?lines=N&size=N.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

hoard: list[bytearray] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        status, body = 200, "ok"
        if url.path == "/pid":
            body = str(os.getpid())
        elif url.path == "/ok":
            bad = options.bad_file and Path(options.bad_file).exists()
            status, body = (503, "not now") if bad else (200, "ok")
        elif url.path == "/metrics":
            busy = options.busy_file and Path(options.busy_file).exists()
            body = f"llamacpp:requests_processing {int(bool(busy))}\nllamacpp:requests_deferred 0\n"
        elif url.path == "/eat":
            hoard.append(bytearray(os.urandom(1) * (int(query["mb"]) * 1024 * 1024)))
        elif url.path == "/exit":
            os._exit(int(query["code"]))
        elif url.path == "/say":
            for number in range(int(query.get("lines", "1"))):
                print(f"{number} " + "x" * int(query.get("size", "10")), flush=True)
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
    if options.fail:
        print("loading", file=sys.stderr)
        print(f"error: {options.fail}", file=sys.stderr)
        sys.exit(options.code)
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if options.child:
        os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1000")
    time.sleep(options.slow_start)
    if options.fd is not None:
        server = Server(("", 0), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = socket.socket(fileno=options.fd)
    else:
        host = "0.0.0.0" if os.environ.get("HOST") == "0.0.0.0" else "127.0.0.1"  # HOST: in a container
        server = Server((host, options.port), Handler)
    if options.log_fd is not None:
        os.write(options.log_fd, f"start {os.getpid()}\n".encode())
    print(f"serving as {os.getpid()}", flush=True)
    if options.live_s:
        threading.Timer(options.live_s, lambda: os._exit(options.code)).start()
    server.serve_forever()


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--fd", type=int)
parser.add_argument("--log-fd", type=int)
parser.add_argument("--bad-file", default="")
parser.add_argument("--busy-file", default="")
parser.add_argument("--slow-start", type=float, default=0.0)
parser.add_argument("--live-s", type=float, default=0.0)
parser.add_argument("--code", type=int, default=1)
parser.add_argument("--fail", default="")
parser.add_argument("--ignore-term", action="store_true")
parser.add_argument("--child", action="store_true")
parser.add_argument("--replaces", default="")
options = parser.parse_args()

if __name__ == "__main__":
    main()
