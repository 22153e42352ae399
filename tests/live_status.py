"""How a live service says that it is, made by the service's own classes without any process: `a_status(tmp_path)`."""

from dataclasses import asdict

from edgewright.board.sensors import Reading
from edgewright.board.thermal import Temperature
from edgewright.board.throttle import Throttle
from edgewright.clock import SystemClock
from edgewright.run.outlet import OutletState
from edgewright.run.secrets import Address
from edgewright.run.sensing import Sensed
from edgewright.run.service import Footprints, Service
from edgewright.run.settings import CameraSettings, ModelSettings, ServiceSettings


def a_status(folder, *, ready=True, frames=100):
    """Two cameras, a model for both and one for the first; `frames` frames of each camera, an eighth of a second old when answered."""
    cameras = (CameraSettings("belt", Address("0")), CameraSettings("gate", Address("1"), models=("tiny",)))
    models = (ModelSettings("tiny", folder / "tiny.onnx"), ModelSettings("second", folder / "second.onnx"))
    settings = ServiceSettings(models, cameras, state=folder / "state", memory_bytes=1 << 30)
    footprints = Footprints(lambda _: None, lambda *_: None)
    service = Service(settings, clock=SystemClock(), takers=(), footprints=footprints)
    for figures in service.figures.values():
        figures.captured_more(frames + 10, {"fps_cap": 10})
        for pair in figures.models.values():
            for _ in range(frames - 7):
                pair.answer(0.125, 0.025, (10.0, 60.0, 5.0))
            pair.dropped.update({"superseded": 5, "no_worker": 1})
    service.budget.admit("service", 30 << 20, "it")
    service.used_bytes = {"service": 30 << 20}
    status = service.status(buckets=True)
    service.loop.close()
    throttle = Throttle(("throttled",), ("under-voltage",))
    board = Sensed(Reading(1.0, 1.0, zones=(Temperature("cpu-thermal", 61.5),), throttle=throttle), 1.0)
    governor = {"rung": "half", "rungs": ["whole", "half"], "fps_cap": 7.5, "time_to_throttle_s": 80.0, "sustainable_fps": 9.0}
    outputs = [asdict(OutletState("store", 7, 1, 2, 3, 4, 5, 6, 789, None, None))]
    counted = [["camera", "warning", 2], ["service", "info", 1]]
    more = {
        "outputs": outputs,
        "board": board.to_json(),
        "governor": governor,
        "events": counted,
        "disk": {"day_bytes": 5, "bytes_a_day": 9},
    }
    return {**status, **more, "ready": ready}
