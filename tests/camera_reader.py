"""Reads a camera with OpenCV, as a process of its own, for OpenCV may hang: camera_reader.py SECONDS, and the URL on standard input.

Says a line of JSON for every try to open and every read, opens again half a second after a failure, and ends by a signal after SECONDS.
"""

import json
import os
import signal
import sys
import time

QUICK = "rtsp_transport;tcp|probesize;32|analyzeduration;0|fflags;nobuffer"
LIMITS_MS = 3000

if __name__ == "__main__":
    signal.alarm(int(sys.argv[1]))
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = QUICK
    import cv2

    from camera_bench import read_number

    def say(**what: object) -> None:
        sys.stdout.write(json.dumps({"now_s": time.monotonic(), **what}) + "\n")
        sys.stdout.flush()

    cv2.setNumThreads(1)
    url = sys.stdin.readline().strip()
    while True:
        asked = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, LIMITS_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, LIMITS_MS]
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, asked)
        say(event="open", ok=capture.isOpened())
        read = capture.isOpened()
        while read:
            read, picture = capture.read()
            size = (picture.shape[1], picture.shape[0]) if read else None
            say(event="read", ok=read, size=size, number=read_number(picture) if read else None)
        capture.release()
        time.sleep(0.5)
