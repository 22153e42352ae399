"""What a live service says of itself, second by second, without one: statuses as `Service.status(buckets=True)` has them, and events.

story = Story({"belt": 25.0, "dock": 12.0})
story.turn(1.0)                 # a second goes by
view.hear_status(story.status())
"""

import random
from collections import Counter

from edgewright.run.events import EventIds
from edgewright.run.figures import BOUNDS_S, CameraFigures, PairFigures

MIB = 1 << 20
MODEL = "defects"
LOST = ("refused", "overflowed", "turned_away", "spared", "damaged", "waiting_records", "waiting_bytes")


def buckets(histogram):
    return {"counts": list(histogram.counts), "sum_s": round(histogram.total_s, 6)}


class Story:
    """`cameras`: frames a second of each. The same seed tells the same story."""

    def __init__(self, cameras, *, wall_s=1_790_000_000.0, seed=3):
        self.fps = dict(cameras)
        self.figures = {name: CameraFigures(models={MODEL: PairFigures()}) for name in cameras}
        self.states = dict.fromkeys(cameras, "up")
        self.whys = dict.fromkeys(cameras)
        self.restarts = Counter()
        self.worker_restarts = 0
        self.began_s, self.uptime_s = wall_s, 0.0
        self.temp_c, self.rung = 61.0, 0
        self.slower = 1.0
        self.told = Counter()
        self._random = random.Random(seed)
        self._ids = EventIds("story")
        self._owed = Counter()

    @property
    def wall_s(self):
        return self.began_s + self.uptime_s

    def turn(self, seconds=1.0):
        self.uptime_s += seconds
        self.temp_c += self._random.uniform(-0.3, 0.3) - (self.temp_c - 61.0) * 0.02
        for name, figures in self.figures.items():
            if self.states[name] != "up":
                continue
            self._owed[name] += self.fps[name] * seconds
            count = int(self._owed[name])
            self._owed[name] -= count
            still = sum(self._random.random() < 0.04 for _ in range(count))
            figures.captured_more(count, {"still": still} if still else {})
            pair = figures.models[MODEL]
            for _ in range(count - still):
                if self._random.random() < 0.015 * self.slower:
                    pair.dropped["superseded"] += 1
                    continue
                model_ms = self.slower * self._random.lognormvariate(3.3, 0.18)
                before_ms, after_ms = self._random.uniform(2, 3.5), self._random.uniform(0.8, 1.6)
                waited_ms = self._random.expovariate(1 / (3 * self.slower))
                age_ms = waited_ms + before_ms + model_ms + after_ms + self._random.uniform(0.4, 1.2)
                pair.answer(age_ms / 1e3, waited_ms / 1e3, (before_ms, model_ms, after_ms))

    def event(self, kind, name, text, severity="info", *, camera=None):
        self.told[kind, severity] += 1
        head = {"id": self._ids.next(self.wall_s), "time_s": round(self.wall_s, 3), "kind": kind, "name": name, "text": text}
        return {**head, "severity": severity, "camera": camera, "data": {}}

    def status(self):
        return {
            "name": "line 3",
            "ready": all(state == "up" for state in self.states.values()),
            "uptime_s": round(self.uptime_s, 3),
            "time_s": round(self.wall_s, 3),
            "bounds_s": list(BOUNDS_S),
            "cameras": {name: self._camera(name) for name in self.figures},
            "models": {
                MODEL: {
                    "state": "ready",
                    "engine": ["onnxruntime", "1.23.0", "int8", 4],
                    "waiting": 0,
                    "restarts": self.worker_restarts,
                    "why": None,
                }
            },
            "governor": {
                "model": MODEL,
                "heat_governed": True,
                "rung": ["640, 4 threads", "480, 4 threads", "320, 2 threads"][self.rung],
                "rungs": ["640, 4 threads", "480, 4 threads", "320, 2 threads"],
                "fps_cap": None,
                "reason": "the board stays below its limit",
                "temp_c": round(self.temp_c, 1),
                "limit_c": 78.0,
                "time_to_throttle_s": None,
                "sustainable_fps": 52.0,
                "joules_a_frame": None,
                "infeasible": False,
                "relief": "none",
                "memory_reason": "memory is not short",
                "faults": [],
            },
            "previews": {"paused": False},
            "recorders": {},
            "disk": {"day_bytes": 812 * MIB, "bytes_a_day": 4096 * MIB},
            "memory": {
                "budget_bytes": 1400 * MIB,
                "promised_bytes": {
                    "service": 96 * MIB,
                    f"model {MODEL}": 310 * MIB,
                    "front": 128 * MIB,
                    **{f"camera {name}": 64 * MIB for name in self.figures},
                },
                "used_bytes": {
                    "service": 71 * MIB,
                    f"model {MODEL}": 288 * MIB,
                    "front": 52 * MIB,
                    **{f"camera {name}": 58 * MIB for name in self.figures},
                },
                "alarm": False,
            },
            "board": {
                "zones_c": {"cpu-thermal": round(self.temp_c, 1)},
                "throttled": {"under-voltage": False, "throttled": False, "frequency capped": False, "soft temperature limit": False},
                "power_w": 6.24,
                "busy_cores": 2.3,
            },
            "outputs": [self._output("events.sqlite", 1204), self._output("broker", 880, waiting_records=12, waiting_bytes=3100)],
            "events": [[kind, severity, count] for (kind, severity), count in sorted(self.told.items())],
        }

    def _camera(self, name):
        figures, pair = self.figures[name], self.figures[name].models[MODEL]
        return {
            "captured": figures.captured,
            "dropped": dict(figures.dropped),
            "models": {
                MODEL: {
                    "answered": pair.answered,
                    "dropped": dict(pair.dropped),
                    "on_the_way": figures.on_the_way(MODEL),
                    "age": buckets(pair.age),
                    "stages": {stage: buckets(histogram) for stage, histogram in pair.stages.items()},
                }
            },
            "state": self.states[name],
            "reader": "opencv",
            "size_wh": [1920, 1080],
            "fps_cap": None,
            "restarts": self.restarts[name],
            "why": self.whys[name],
        }

    @staticmethod
    def _output(name, delivered, **counts):
        return {"name": name, "delivered": delivered, **dict.fromkeys(LOST, 0), "failing_since_s": None, "last_error": None, **counts}
