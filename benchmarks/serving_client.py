"""One client of benchmarks/serving.py: a raw socket, a request that is ready, and nothing else that would take the processor.

serving_client.py PORT REQUEST_FILE        {"count": n} on standard input, figures on standard output
"""

import json
import socket
import sys
import time
from collections import Counter
from pathlib import Path

LONGEST_HEAD = 1 << 14


def main() -> None:
    """Ask as often as it is told."""
    request = Path(sys.argv[2]).read_bytes()
    room = memoryview(bytearray(8 << 20))
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for line in sys.stdin:
        statuses, latencies_ms, size = Counter(), [], 0
        began_s = time.monotonic()
        for _ in range(json.loads(line)["count"]):
            asked_s = time.monotonic()
            connection.sendall(request)
            status, size = answer(connection, room)
            latencies_ms.append((time.monotonic() - asked_s) * 1e3)
            statuses[status] += 1
        told = {"began_s": began_s, "ended_s": time.monotonic(), "statuses": statuses, "latencies_ms": latencies_ms, "answer_bytes": size}
        print(json.dumps(told), flush=True)


def answer(connection: socket.socket, room: memoryview) -> tuple[str, int]:
    """Its status and length; the body is read, and left where it is."""
    have, at = 0, -1
    while at < 0:
        count = connection.recv_into(room[have:])
        assert count, "the server has closed"
        have += count
        at = bytes(room[: min(have, LONGEST_HEAD)]).find(b"\r\n\r\n")
    head = bytes(room[:at]).lower()
    whole = at + 4 + int(head.partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0])
    while have < whole:
        count = connection.recv_into(room[have:whole])
        assert count, "the server has closed"
        have += count
    return head.split(b" ")[1].decode(), whole


if __name__ == "__main__":
    main()
