"""A client that behaves: a picture to /detect at a steady pace, over one connection, in a process of its own.

    steady_client.py PORT MODEL PICTURE PER_SECOND        until standard input ends; then JSON: [when, milliseconds, status] of each

What the test that made it does meanwhile does not stand in its way, as it would in a thread.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 60


@contextmanager
def steady_client(port, model, picture, per_second=10):
    """Asks from now on; what it saw is in the list that this gives, once it is over."""
    command = [sys.executable, "-S", __file__, str(port), model, str(picture), str(per_second)]
    seen = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield seen
        finally:
            seen += json.loads(process.communicate(timeout=2 * PATIENCE_S)[0])


def main():
    """Ask."""
    port, model, picture, pace_s = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_bytes(), 1 / float(sys.argv[4])
    ended, seen = threading.Event(), []
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    due_s = time.monotonic()
    while not ended.is_set():
        due_s = max(due_s + pace_s, time.monotonic())
        time.sleep(max(0.0, due_s - time.monotonic()))
        began_s = time.monotonic()
        connection.request("POST", f"/detect?model={model}", picture)
        answer = connection.getresponse()
        answer.read()
        seen.append((began_s, (time.monotonic() - began_s) * 1e3, answer.status))
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
