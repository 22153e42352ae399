"""One HTTP camera: JPEG pictures, made once, sent again and again as multipart/x-mixed-replace. Standard library only.

Settings, commands, clip files and the clock are those of `rtsp_server.py`: a line of JSON on standard input, `clip PATH` for another clip,
the port and `began_s` on standard output, and it ends when its standard input does, or after `seconds`.
"""

import base64
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from clip_file import read_clip


class Camera(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, wanted: dict[str, object]) -> None:
        super().__init__(("127.0.0.1", 0), Watcher)
        self.fps = int(str(wanted["fps"]))
        self.pictures = read_clip(Path(str(wanted["clip"])))
        self.began_s = time.monotonic()
        pair = f"{wanted['user']}:{wanted['password']}" if wanted.get("user") else ""
        self.password = "Basic " + base64.b64encode(pair.encode()).decode() if pair else ""

    def handle_error(self, request: object, client_address: object) -> None:
        """A viewer that goes is no error."""


class Watcher(BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        if self.server.password and self.headers.get("Authorization") != self.server.password:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        number = self._due()
        while True:
            picture = self.server.pictures[number % len(self.server.pictures)]
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")
            number = max(number + 1, self._due())  # who reads slowly misses pictures
            time.sleep(max(0.0, self.server.began_s + number / self.server.fps - time.monotonic()))

    def _due(self) -> int:
        return int((time.monotonic() - self.server.began_s) * self.server.fps)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def main() -> None:
    wanted = json.loads(sys.stdin.readline())
    camera = Camera(wanted)
    sys.stdout.write(json.dumps({"port": camera.server_port, "began_s": camera.began_s}) + "\n")
    sys.stdout.flush()
    threading.Timer(wanted["seconds"], os._exit, [0]).start()
    threading.Thread(target=camera.serve_forever, daemon=True).start()
    for line in sys.stdin:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "clip":
            camera.pictures = read_clip(Path(rest))
    os._exit(0)  # whatever its threads are sending


if __name__ == "__main__":
    main()
