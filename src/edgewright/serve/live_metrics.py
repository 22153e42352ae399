"""What /metrics shows of a live service: its status, as Prometheus reads it.

Counters are the service's own, so a front that is replaced leaves no dent in them. A frame that was dropped before any model could be
asked (`fps_cap`, `still`, ...) is counted once, with an empty `model`; of each camera and model, captured = those + answered + dropped + on
the way.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from edgewright.serve.exposition import Family
from edgewright.serve.live_view import Status

MODEL_STATES: Final = ("waiting", "loading", "ready", "paused", "refused", "ended")


def live_families(status: Status) -> Iterable[Family]:
    """Families for a status, as `Service.status(buckets=True)` and `run.live` give it."""
    yield Family("edgewright_uptime_seconds", "gauge", "Since the service began.").add(status["uptime_s"])
    yield from _of_cameras(status["cameras"])
    yield from _of_models(status["models"])
    memory = status["memory"]
    yield from memory_families(memory["budget_bytes"], memory["promised_bytes"], memory["used_bytes"])
    yield Family("edgewright_memory_alarm", "gauge", "Whether more than 90 % of the budget is used.").add(memory["alarm"])
    yield from _of_board(status.get("board"))
    yield from _of_governor(status.get("governor"))
    yield from _of_outputs(status.get("outputs", ()), status.get("disk"))
    events = Family("edgewright_events_total", "counter", "Events, by what they are about.")
    for kind, severity, count in status.get("events", ()):
        events.add(count, kind=kind, severity=severity)
    yield events


def memory_families(budget_bytes: int, promised: Mapping[str, int], used: Mapping[str, int]) -> Iterable[Family]:
    """The one budget, and who has what of it."""
    yield Family("edgewright_memory_budget_bytes", "gauge", "What all processes together may take.").add(budget_bytes)
    promised_bytes = Family("edgewright_memory_promised_bytes", "gauge", "What of it is promised.")
    for part, count in promised.items():
        promised_bytes.add(count, part=part)
    used_bytes = Family("edgewright_memory_used_bytes", "gauge", "What processes take, shared pages by share.")
    for part, count in used.items():
        used_bytes.add(count, part=part)
    yield from (promised_bytes, used_bytes)


def _of_cameras(cameras: Mapping[str, Any]) -> Iterable[Family]:
    up = Family("edgewright_camera_up", "gauge", "Whether frames come.")
    restarts = Family("edgewright_camera_restarts_total", "counter", "How often the camera's process was replaced.")
    captured = Family("edgewright_frames_captured_total", "counter", "Frames that came.")
    frames = Family("edgewright_frames_total", "counter", "What became of frames: answered, or why not.")
    age = Family("edgewright_frame_age_seconds", "histogram", "From the whole frame in memory to its answer.")
    stages = Family("edgewright_stage_duration_seconds", "histogram", "What of that each stage took.")
    for name, camera in cameras.items():
        up.add(camera["state"] == "up", camera=name)
        restarts.add(camera["restarts"], camera=name)
        captured.add(camera["captured"], camera=name)
        for reason, count in camera["dropped"].items():
            frames.add(count, camera=name, model="", result=reason)
        for model, pair in camera["models"].items():
            frames.add(pair["answered"], camera=name, model=model, result="answered")
            for reason, count in pair["dropped"].items():
                frames.add(count, camera=name, model=model, result=reason)
            age.add_buckets(pair["age"]["counts"], pair["age"]["sum_s"], camera=name, model=model)
            for stage, buckets in pair["stages"].items():
                stages.add_buckets(buckets["counts"], buckets["sum_s"], camera=name, model=model, stage=stage)
    yield from (up, restarts, captured, frames, age, stages)


def _of_models(models: Mapping[str, Any]) -> Iterable[Family]:
    states = Family("edgewright_live_model_state", "gauge", "1 for the state that the model's worker is in.")
    for name, model in models.items():
        for state in MODEL_STATES:
            states.add(model["state"] == state, model=name, state=state)
    yield states


def _of_board(board: Mapping[str, Any] | None) -> Iterable[Family]:
    warm = Family("edgewright_temperature_celsius", "gauge", "By thermal zone.")
    for zone, temp_c in ({} if board is None else board["zones_c"]).items():
        warm.add(temp_c, zone=zone)
    throttled = Family("edgewright_throttled", "gauge", "Whether the board slows itself down, and why.")
    for reason, is_up in ({} if board is None else board["throttled"]).items():
        throttled.add(is_up, reason=reason)
    yield from (warm, throttled)


def _of_governor(governor: Mapping[str, Any] | None) -> Iterable[Family]:
    found = {} if governor is None else governor
    rung, rungs = found.get("rung"), found.get("rungs", [])
    values = {
        "edgewright_governor_rung": ("Which way to run is chosen, 0 the first.", rungs.index(rung) if rung in rungs else None),
        "edgewright_governor_fps_cap": ("Frames a second that are allowed, of all live cameras together.", found.get("fps_cap")),
        "edgewright_time_to_throttle_seconds": ("Until the limit would be reached at this pace.", found.get("time_to_throttle_s")),
        "edgewright_sustainable_fps": ("Frames a second that the board can shed the heat of.", found.get("sustainable_fps")),
    }
    for name, (text, value) in values.items():
        family = Family(name, "gauge", text)
        yield family if value is None else family.add(value)


def _of_outputs(outputs: Iterable[Mapping[str, Any]], disk: Mapping[str, Any] | None) -> Iterable[Family]:
    delivered = Family("edgewright_output_delivered_total", "counter", "Records that an output has delivered.")
    spooled = Family("edgewright_output_spooled_bytes", "gauge", "What waits for an output.")
    lost = Family("edgewright_output_lost_total", "counter", "Records that an output will never deliver.")
    for output in outputs:
        name = output["name"]
        delivered.add(output["delivered"], output=name)
        spooled.add(output["waiting_bytes"], output=name)
        lost.add(sum(output[key] for key in ("refused", "overflowed", "turned_away", "spared", "damaged")), output=name)
    day = Family("edgewright_disk_day_bytes", "gauge", "Written by all outputs in the last 24 hours.")
    yield from (delivered, spooled, lost, day if disk is None else day.add(disk["day_bytes"]))
