"""A real web server that takes POSTs, and answers as a test wants: at once, late, badly, not at all."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebhookServer:
    """`answers`: what the next requests get, `(status, headers)`, or a function of the handler; then 200."""

    def __init__(self, port=0):
        self.answers, self.requests = [], []
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = outer.answers.pop(0) if outer.answers else (200, {})
                if callable(answer):
                    answer(self)
                    self.close_connection = True
                    return
                status, headers = answer
                outer.requests.append((status, dict(self.headers), body, self.path))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", "2")
                self.end_headers()
                if headers.get("Content-Length") != "0":
                    with contextlib.suppress(OSError):
                        self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def records(self):
        """Of the requests that were answered with 2xx, in the order of arrival."""
        bodies = [json.loads(body) for status, _, body, _ in self.requests if status < 300]
        return [record for body in bodies for record in (body if isinstance(body, list) else [body])]

    @property
    def ids(self):
        return [record["id"] for record in self.records]

    def close(self):
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def hang(server):
    """Says nothing until the test is over."""
    return lambda _: server.release.wait(20)


def drip(server):
    """A byte of a header now and then."""

    def answer(handler):
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not server.release.wait(0.05):
                handler.wfile.write(b"x")

    return answer


def hang_up(handler):
    handler.connection.close()


def babble(handler):
    with contextlib.suppress(OSError):
        handler.wfile.write(b"SSH-2.0-OpenSSH\r\n" * 10)
