"""What /metrics shows: `edgewright_*`, and the `nv_inference_*` counters under Triton's own names, so that its dashboards work."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from edgewright.run.figures import Histogram
from edgewright.serve.batching import SIZES
from edgewright.serve.exposition import Family
from edgewright.serve.live_metrics import live_families, memory_families
from edgewright.serve.live_view import LiveView, Status
from edgewright.serve.model_figures import STAGES, ModelFigures
from edgewright.serve.model_host import VERSION, ModelHost
from edgewright.version import __version__

BATCH_BOUNDS = (1, *SIZES)
STAGE_NAMES = dict(zip(STAGES, ("queue", "pre", "infer", "post"), strict=True))


@dataclass(slots=True)
class HttpFigures:
    """Of all requests, by the page they asked for (never by what a client wrote)."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    taken: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    connections: int = 0
    refused_connections: int = 0
    streams: int = 0

    def answered(self, page: str, status: int, seconds: float) -> None:
        self.requests[page, status] += 1
        self.taken[page].add(seconds)


def families(host: ModelHost, http: HttpFigures, *, ready: bool, live: LiveView | None = None) -> Iterable[Family]:
    """All of them; of a live service only what it has just said: figures that stand still would look like ones of now."""
    status = live.status if live is not None and live.is_fresh else None
    yield Family("edgewright_info", "gauge", "Which edgewright this is.").add(1, version=__version__)
    yield Family("edgewright_ready", "gauge", "Whether all that is required is loaded and computes.").add(ready)
    yield from _of_models(host)
    yield _restarts(host, status)
    if live is None:
        yield from _of_memory(host)
    elif status is not None:
        yield from live_families(status)
    yield from _of_http(http)
    yield from _as_triton(host)


def _of_models(host: ModelHost) -> Iterable[Family]:
    stages = Family("edgewright_inference_duration_seconds", "histogram", "Time of answered requests, by stage.")
    requests = Family("edgewright_inference_requests_total", "counter", "Requests to models, by result.")
    sizes = Family("edgewright_batch_size", "histogram", "Requests that were computed together, by execution.")
    trials = Family("edgewright_batch_trials_total", "counter", "Executions that tried whether requests are sooner served together.")
    for name, figures in host.figures.items():
        for stage, histogram in figures.stages.items():
            stages.add_histogram(histogram, model=name, stage=STAGE_NAMES[stage])
        requests.add(figures.success, model=name, result="answered")
        for reason, count in figures.failures.items():
            requests.add(count, model=name, result=reason.lower())
        sizes.add_counts({size: batch.count for size, batch in figures.batches.items()}, BATCH_BOUNDS, model=name)
        trials.add(figures.trials, model=name)
    ready = Family("edgewright_model_ready", "gauge", "Whether the model answers.")
    resident = Family("edgewright_model_resident_bytes", "gauge", "Memory of the model's process, shared pages by share.")
    waiting = Family("edgewright_model_waiting_requests", "gauge", "Requests that wait for the model.")
    for name, worker in host.workers.items():
        ready.add(worker.state == "ready", model=name)
        resident.add(worker.taken_bytes or 0, model=name)
        waiting.add(worker.waiting, model=name)
    yield from (stages, requests, sizes, trials, ready, resident, waiting)


def _restarts(host: ModelHost, status: Status | None) -> Family:
    """One model may watch cameras and be asked over HTTP, in two processes that are counted by two: each has a counter that only grows."""
    restarts = Family("edgewright_worker_restarts_total", "counter", "How often a process of the model was replaced, by what it is for.")
    for name, figures in host.figures.items():
        restarts.add(figures.restarts, model=name, of="http")
    for name, model in ({} if status is None else status["models"]).items():
        restarts.add(model["restarts"], model=name, of="cameras")
    return restarts


def _of_memory(host: ModelHost) -> Iterable[Family]:
    used = {f"model {name}": worker.taken_bytes or 0 for name, worker in host.workers.items()}
    yield from memory_families(host.budget.total_bytes, host.budget.promises, used)


def _of_http(http: HttpFigures) -> Iterable[Family]:
    requests = Family("edgewright_http_requests_total", "counter", "HTTP requests, by page and status.")
    for (page, status), count in http.requests.items():
        requests.add(count, page=page, status=str(status))
    taken = Family("edgewright_http_request_duration_seconds", "histogram", "From the whole header to the answer handed over.")
    for page, histogram in http.taken.items():
        taken.add_histogram(histogram, page=page)
    yield from (requests, taken)
    yield Family("edgewright_http_connections", "gauge", "Open connections.").add(http.connections)
    yield Family("edgewright_http_streams", "gauge", "Answers that go on: live pictures.").add(http.streams)
    refused = Family("edgewright_http_connections_refused_total", "counter", "Connections beyond the most there may be.")
    yield refused.add(http.refused_connections)


def _as_triton(host: ModelHost) -> Iterable[Family]:
    """Names and meanings: Triton, docs/user_guide/metrics.md."""

    def of_each(name: str, text: str, value: Callable[[ModelFigures], int]) -> Family:
        family = Family(name, "counter", text)
        for model, figures in host.figures.items():
            family.add(value(figures), model=model, version=VERSION)
        return family

    yield of_each("nv_inference_request_success", "Number of successful inference requests", lambda figures: figures.success)
    failure = Family("nv_inference_request_failure", "counter", "Number of failed inference requests")
    for model, figures in host.figures.items():
        for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER"):
            failure.add(figures.failures[reason], model=model, version=VERSION, reason=reason)
    yield failure
    yield of_each("nv_inference_count", "Number of inferences performed", lambda figures: figures.inferences)
    yield of_each("nv_inference_exec_count", "Number of model executions performed", lambda figures: figures.executions)
    pending = Family("nv_inference_pending_request_count", "gauge", "Instantaneous number of pending requests awaiting execution.")
    for model, worker in host.workers.items():
        pending.add(worker.waiting, model=model, version=VERSION)
    yield pending
    yield of_each("nv_inference_request_duration_us", "Cumulative inference request duration", lambda figures: figures.success_ns // 1000)
    for stage in STAGES:
        name = f"nv_inference_{stage}_duration_us"
        yield of_each(name, f"Cumulative {stage.replace('_', ' ')} duration", partial(_stage_us, stage))


def _stage_us(stage: str, figures: ModelFigures) -> int:
    return figures.stages_ns[stage] // 1000
