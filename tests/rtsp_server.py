"""One RTSP camera: GStreamer's RTSP server plays a clip of H.264 pictures, made once, again and again.

Runs under the system's python3, whose GStreamer it needs (`camera_bench.py` starts it and knows the packages):
    rtsp_server.py encode WIDTH HEIGHT FPS CLIP     raw I420 pictures on standard input become a clip
    rtsp_server.py serve                            {"clip", "fps", "seconds", "user", "password"} as one line of JSON on standard input

Nothing is encoded while it serves, so a camera costs about a hundredth of a core. Which picture is due follows from the clock alone:
picture number `(now - began) * fps`, where `began` (CLOCK_MONOTONIC, seconds) is said on standard output with the port. So whoever reads a
picture's number knows when it was sent, and a clip of another size takes over within the same session at the next key picture: `clip PATH`
on standard input. It ends when its standard input does, or after `seconds`.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import gi

from clip_file import as_entry, key_every, read_clip

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - only after the versions are said

ENCODERS = {  # key pictures where `key_every` says, none elsewhere; no B-pictures: what is sent is in the order in which it is shown
    "x264enc": "speed-preset=veryfast tune=zerolatency threads=1 sliced-threads=false bitrate={kbit} key-int-max={key} "
    "option-string=scenecut=0",
    "openh264enc": "complexity=low bitrate={bit} rate-control=bitrate gop-size={key} scene-change-detection=false",
}
FEED = (
    "( appsrc name=feed is-live=true format=time do-timestamp=true caps=video/x-h264,stream-format=byte-stream,alignment=au "
    "! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 config-interval=-1 aggregate-mode=zero-latency )"
)


def encode(width: int, height: int, fps: int, clip: Path) -> None:
    encoder = next((name for name in ENCODERS if Gst.ElementFactory.find(name)), None)
    if encoder is None:
        sys.exit("no H.264 encoder: neither x264enc (gstreamer1.0-plugins-ugly) nor openh264enc (gstreamer1.0-plugins-bad)")
    bits = round(width * height * fps * 0.15)  # 0.15 bits a pixel: some 520 kbit/s at 640x360 and 15 fps, as cameras have it
    settings = ENCODERS[encoder].format(key=key_every(fps), bit=bits, kbit=max(bits // 1000, 64))
    pipeline = Gst.parse_launch(
        f"fdsrc fd=0 ! rawvideoparse format=i420 width={width} height={height} framerate={fps}/1 ! {encoder} {settings} "
        "! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=out sync=false"
    )
    pipeline.set_state(Gst.State.PLAYING)
    sink = pipeline.get_by_name("out")
    with clip.open("wb") as stream:
        while (sample := sink.emit("pull-sample")) is not None:
            buffer = sample.get_buffer()
            picture = buffer.extract_dup(0, buffer.get_size())
            stream.write(as_entry(picture))
    failed = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    if failed is not None:
        sys.exit(f"{encoder} failed: {failed.parse_error()}")


class Player:
    """Gives the picture that is due to whoever watches; all watch the same pipeline, as with a camera that encodes once."""

    def __init__(self, clip: Path, fps: int) -> None:
        self._fps = fps
        self._began_s = time.monotonic()
        self._pictures = read_clip(clip)
        self._next_pictures: list[bytes] | None = None
        self._sent = -1
        self._feeds: dict[object, bool] = {}  # of each pipeline, whether it has begun: it does so with a key picture
        GLib.timeout_add(max(2, 250 // fps), self._tick)

    @property
    def began_s(self) -> float:
        return self._began_s

    def play_next(self, clip: Path) -> None:
        self._next_pictures = read_clip(clip)

    def add(self, media: GstRtspServer.RTSPMedia) -> None:
        feed = media.get_element().get_by_name_recurse_up("feed")
        self._feeds[feed] = False
        media.connect("unprepared", lambda _: self._feeds.pop(feed, None))

    def _tick(self) -> bool:
        due = int((time.monotonic() - self._began_s) * self._fps)
        for number in range(max(self._sent + 1, due - self._fps), due + 1):  # after a stop of the whole process, one second at most
            self._send(number)
        self._sent = due
        return True

    def _send(self, number: int) -> None:
        key = number % key_every(self._fps) == 0
        if key and self._next_pictures is not None:
            self._pictures, self._next_pictures = self._next_pictures, None
        picture = self._pictures[number % len(self._pictures)]
        for feed, begun in list(self._feeds.items()):
            if begun or key:
                self._feeds[feed] = True
                feed.emit("push-buffer", Gst.Buffer.new_wrapped(picture))


def serve() -> None:
    wanted = json.loads(sys.stdin.readline())
    loop = GLib.MainLoop()
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(FEED)
    factory.set_shared(True)
    factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)  # all through one connection, where a proxy between sees it
    if wanted.get("user"):
        _ask_for_password(server, factory, wanted["user"], wanted["password"])
    player = Player(Path(wanted["clip"]), wanted["fps"])
    factory.connect("media-configure", lambda _, media: player.add(media))
    server.get_mount_points().add_factory("/cam", factory)
    if not server.attach(None):
        sys.exit("no port to be had on 127.0.0.1")
    GLib.timeout_add_seconds(2, lambda: bool(server.get_session_pool().cleanup()) or True)
    GLib.timeout_add_seconds(wanted["seconds"], loop.quit)
    print(json.dumps({"port": server.get_bound_port(), "began_s": player.began_s}), flush=True)
    threading.Thread(target=_obey, args=(player, loop), daemon=True).start()
    loop.run()


def _obey(player: Player, loop: GLib.MainLoop) -> None:
    for path in _commands():
        GLib.idle_add(player.play_next, path)
    loop.quit()


def _commands() -> Iterator[Path]:
    for line in sys.stdin:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "clip":
            yield Path(rest)


def _ask_for_password(server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, user: str, password: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_digest(user, password, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_role("viewer")
    for right in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", right, True)
    factory.set_permissions(permissions)


if __name__ == "__main__":
    Gst.init(None)
    if sys.argv[1] == "encode":
        encode(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        serve()
