"""A live service whose board is a folder: real workers and capture processes, and sensors that say what a test wants."""

import time
from collections import Counter

import cv2
import numpy as np

from edgewright.clock import SystemClock
from edgewright.run.footprints import RememberedFootprints
from edgewright.run.governing import Governing
from edgewright.run.records import Answer
from edgewright.run.secrets import Address
from edgewright.run.sensing import Sensing
from edgewright.run.service import Footprints, Service
from edgewright.run.settings import CameraSettings, GovernSettings, ServiceSettings
from edgewright.testing.boards import FakeBoard
from tiny_detector import COLOURS

WITHIN_S = 120.0  # nothing takes so long but on a machine that has no time
FILM_FPS = 20


def write_film(path, size_wh=(320, 240), frames=100):
    """A red square that moves."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FILM_FPS, size_wh)
    for number in range(frames):
        picture = np.full((size_wh[1], size_wh[0], 3), 114, np.uint8)
        picture[100:148, 20 + number : 68 + number] = COLOURS["red"][::-1]
        writer.write(picture)
    writer.release()
    return path


class GovernedService:
    """`answers`: (when, camera, model, engine, boxes); `events` as they were said."""

    def __init__(
        self,
        folder,
        models,
        film,
        *,
        ways=(),
        board="rpi5",
        cameras=("belt",),
        govern=None,
        memory_bytes=None,
        every_s=1.0,
        root=None,
        outputs=(),
    ):
        self.board = FakeBoard(folder / "board", board)
        self.board.set_temperature(62.0)
        self.answers, self.events = [], []
        settings = ServiceSettings(
            tuple(models),
            tuple(CameraSettings(name, Address(str(film)), live=True, loop=True) for name in cameras),
            state=folder / "state",
            outputs=outputs,
            govern=govern or GovernSettings(),
            memory_bytes=memory_bytes,
        )
        (folder / "state").mkdir()
        kept = RememberedFootprints(folder / "state")
        self.kept = kept
        self.service = Service(settings, clock=SystemClock(), takers=[self], footprints=Footprints(kept.recall, kept.remember))
        self.sensing = (Sensing(root) if root else Sensing(self.board.root, open_sensors=self.board.sensors, every_s=every_s)).start()
        first = self.sensing.first(30.0)
        self.governor = self.service.governor = Governing(self.service, self.sensing, ways, None if first is None else first.reading)

    def offer(self, record):
        if isinstance(record, Answer):
            worker = self.service.workers[record.model]
            self.answers.append(
                (time.monotonic(), record.camera, record.model, worker.loaded.threads, worker.loaded.size_wh, len(record.detections))
            )
        else:
            self.events.append(record)

    def __enter__(self):
        self.service.start()
        return self

    def __exit__(self, *_):
        self.service.end()
        self.sensing.close()

    def turn_for(self, seconds):
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.service.turn()

    def until(self, is_true, within_s=WITHIN_S):
        until_s = time.monotonic() + within_s
        while not is_true():
            assert time.monotonic() < until_s, f"it does not come to pass; {self.shown()}"
            self.service.turn()

    def shown(self):
        return [f"{each.kind} {each.name}: {each.text}" for each in self.events[-12:]], self.governor.status()

    def said(self, kind, name=None, words=""):
        return [each for each in self.events if each.kind == kind and name in (None, each.name) and words in each.text]

    def fps(self, over_s=3.0, model=None):
        """Answers a second, of the last seconds."""
        now_s = time.monotonic()
        return sum(each[0] > now_s - over_s and model in (None, each[2]) for each in self.answers) / over_s

    def assert_it_adds_up(self):
        """Captured = answered + dropped by reason + on the way, none of which is less than nothing."""
        for camera in self.service.totals().values():
            dropped = sum(camera["dropped"].values())
            for model in camera["models"].values():
                assert model["on_the_way"] >= 0
                assert camera["captured"] == dropped + model["answered"] + sum(model["dropped"].values()) + model["on_the_way"]

    def last(self, model):
        """The last answer of a model."""
        return next(each for each in reversed(self.answers) if each[2] == model)

    def dropped(self, model):
        found = Counter()
        for camera in self.service.totals().values():
            found.update(camera["models"][model]["dropped"])
        return found
