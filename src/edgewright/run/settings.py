"""What a service is told to do. `service_file` makes it of a service.toml, the command line of a detector and a camera.

Every field has the value that most people want, so a service needs a model and a camera, and no more.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from edgewright.run.front_settings import FrontSettings
from edgewright.run.secrets import Address, Secret

Point: TypeAlias = tuple[float, float]  # x, y as shares of the picture's width and height, 0..1: true at every resolution
Polygon: TypeAlias = tuple[Point, ...]
Box: TypeAlias = tuple[float, float, float, float]  # x1, y1, x2, y2, shares as well

MIB = 1 << 20
GIB = 1 << 30
STATE = Path("edgewright-state")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """A model that is kept running: an artifact folder or a YOLO .onnx file, in a process of its own.

    `lighter`: what may run in its place when the board is too warm or memory short, the one that is worth most first; of the same classes.
    """

    name: str
    artifact: Path
    threads: int | None = None  # default: those it was fitted for
    score: float | None = None  # default: the artifact's own thresholds
    answer_within_s: float = 10.0  # a worker that is silent for longer is replaced
    lighter: tuple[Path, ...] = ()
    best_effort: bool = False  # it pauses while memory is short


@dataclass(frozen=True, slots=True)
class GovernSettings:
    """Heat and memory are answered by doing less. `limit_c`: never warmer; default: what suits the board (`govern.heat`)."""

    enabled: bool = True
    limit_c: float | None = None
    lowest_fps: float = 1.0  # what has to remain, of all cameras together
    fewest_threads: int = 1


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """The model is spared while nothing moves: no more than `area` of the picture differs from the running background by over `change`.

    What stands still is not seen again before it moves, or `at_least_every_s` has passed: that is what the option costs in recall.
    """

    area: float = 0.002  # share of the picture
    change: int = 18  # of 255 grey levels
    at_least_every_s: float = 10.0


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """A source of frames.

    `source`: a number or /dev/video0 (USB), `csi:0` (Raspberry Pi), rtsp:// or http://, a video file, a folder of pictures (with `watch`,
    those that arrive), or the folder of a recorded run. `live`: the latest frame wins; otherwise every frame is answered, and the source
    waits. Default: live, unless it is a file or a folder.
    """

    name: str
    source: Address
    models: tuple[str, ...] = ()  # default: all
    live: bool | None = None
    reader: Literal["auto", "opencv", "ffmpeg"] = "auto"
    transport: Literal["tcp", "udp"] = "tcp"
    fps: float | None = None  # no more than these many frames a second are taken; the rest is dropped, and counted
    size_wh: tuple[int, int] | None = None  # asked of the camera (USB, CSI)
    region: Box | None = None  # the part that the model is shown
    motion: MotionSettings | None = None
    stall_s: float = 20.0  # without a frame for so long, the capture process is replaced
    loop: bool = False  # a file begins again at its end
    watch: bool = False  # a folder's pictures are taken as they arrive
    tracking: bool = True


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """What makes an event of detections.

    zone: a box of `classes` is inside `polygon` for `frames_of[0]` of the last `frames_of[1]` frames; line: a track crosses `line`, counted
    by direction; seen: a box of `classes` anywhere on k of n frames. `again_after_s`: how long a rule keeps still once it has spoken.
    """

    name: str
    kind: Literal["zone", "line", "seen"]
    cameras: tuple[str, ...] = ()  # default: all
    models: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    score: float = 0.0
    polygon: Polygon | None = None
    line: tuple[Point, Point] | None = None
    frames_of: tuple[int, int] = (1, 1)
    again_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """What waits on disk for an output that cannot take it: no more than `most_bytes`, the oldest go first and are counted."""

    most_bytes: int = 64 * MIB


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """What every output has: a name, what it is given, and whose."""

    name: str
    records: tuple[Literal["answers", "events"], ...] = ("events",)
    cameras: tuple[str, ...] = ()  # default: all; events of no camera go everywhere
    spool: SpoolSettings = field(default_factory=SpoolSettings)


@dataclass(frozen=True, slots=True)
class FileOutput(OutputSettings):
    """Lines of JSON, or CSV with a line a box (answers) or an event; begun anew at `rotate_bytes`, no more than `most_bytes` kept."""

    format: Literal["jsonl", "csv"] = "jsonl"
    folder: Path = Path()  # default: `outputs/NAME` in the state folder
    rotate_bytes: int = 16 * MIB
    most_bytes: int = 256 * MIB


@dataclass(frozen=True, slots=True)
class StoreOutput(OutputSettings):
    """Events (and answers, if asked for) in an SQLite file; those older than `keep_days`, or beyond `most_bytes`, go."""

    path: Path = Path()  # default: `events.sqlite` in the state folder
    keep_days: float = 30.0
    most_bytes: int = 256 * MIB


@dataclass(frozen=True, slots=True)
class MqttOutput(OutputSettings):
    """Topics `PREFIX/SERVICE/CAMERA/...`, with Home Assistant's discovery where it is asked for. MQTT 3.1.1, at least once."""

    host: str = "localhost"
    port: int = 1883
    tls: bool = False
    ca_file: Path | None = None
    user: str | None = field(default=None, repr=False)  # some brokers take a token for it
    password: Secret | None = None
    prefix: str = "edgewright"
    discovery_prefix: str | None = "homeassistant"
    keepalive_s: float = 30.0


@dataclass(frozen=True, slots=True)
class WebhookOutput(OutputSettings):
    """A POST of JSON for every record (or up to `batch` of them); `token` goes into `Authorization: Bearer`."""

    url: Address = field(default=Address(""))
    token: Secret | None = None
    batch: int = 1
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class RecordingOutput(OutputSettings):
    """Video with the boxes drawn in: a file is closed after `segment_s`; beyond `most_bytes` the oldest go."""

    folder: Path = Path()  # default: `recordings/NAME` in the state folder
    encoder: str = "auto"
    fps: float = 10.0
    annotated: bool = True
    segment_s: float = 300.0
    most_bytes: int = 2 * GIB


@dataclass(frozen=True, slots=True)
class StretchOutput(OutputSettings):
    """Frames with what was decided about each, into a folder that can be replayed; it ends where the next frame would be too much."""

    folder: Path = Path()
    pictures: Literal["jpeg", "png"] = "jpeg"
    most_bytes: int = 2 * GIB


Output: TypeAlias = FileOutput | StoreOutput | MqttOutput | WebhookOutput | RecordingOutput | StretchOutput


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """A whole service. `state`: its folder, for spools, stores and recordings; `memory_bytes`: what all its processes may take together."""

    models: tuple[ModelSettings, ...]
    cameras: tuple[CameraSettings, ...]
    rules: tuple[RuleSettings, ...] = ()
    outputs: tuple[Output, ...] = ()
    name: str = "edgewright"
    state: Path = STATE
    memory_bytes: int | None = None  # default: 80 % of what the machine, or its control group, has left
    disk_bytes_a_day: int = 4 * GIB  # written, of all outputs together: SD cards wear
    govern: GovernSettings = field(default_factory=GovernSettings)
    http: FrontSettings | None = None  # None: nothing listens but a socket of ours in `state`
    frames: int | None = None  # of each camera; then it stops (replay and tests)
    warnings: tuple[str, ...] = ()  # what is odd about how it was asked for, a sentence each, for the log
