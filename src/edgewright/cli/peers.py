"""What `edgewright bench --peers` runs beside the models it is given: made here, from the float model and the data set."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from edgewright.artifact import Artifact
from edgewright.bench.end_to_end import FrameJob
from edgewright.bench.jobs import job_for
from edgewright.bench.measure import Job
from edgewright.bench.peers import nncf, ultralytics
from edgewright.bench.peers.environment import Peer, first_with, look_into
from edgewright.bench.peers.taking_part import LeftOut, Peers
from edgewright.bench.process import MeasuredProcess
from edgewright.compress.candidates import calibration_feeds
from edgewright.compress.recipes import TUTORIAL_RECIPE
from edgewright.data.calibration import choose_calibration
from edgewright.data.dataset import open_dataset, part_train_from_val
from edgewright.door.admission import admit_detector
from edgewright.engines import is_installed
from edgewright.errors import EdgewrightError, InputError
from edgewright.fit.single import QuantizeRequest, quantize
from edgewright.fit.watch import Watch

TUTORIAL = "tutorial recipe"
CALIBRATION_PICTURES = 64
BUILD = "see docs/reference/bench.md for an environment with it, and name it with --peer-python"


@contextmanager
def open_peers(
    model: Job, threads: list[int], *, data: Path | None, python: Path | None, source: Path | None, watch: Watch
) -> Iterator[Peers]:
    """The peers of the float detector that `model` measures; what had to be made for them is gone afterwards.

    Raises:
        InputError: the model is no ONNX detector, `python` none, or `data` no data set.
    """
    given = admit_detector(model.path)
    # What the user named wrongly is refused; what is missing in it leaves a peer out.
    if python is not None:
        look_into(python, ())
    if data is not None:
        open_dataset(data)
    pythons = [] if python is None else [python]
    with TemporaryDirectory(prefix="edgewright-peers-") as name:
        workshop = _Workshop(model, given, Path(name), data, pythons, source, watch)
        peers = Peers()
        for called, make in ((TUTORIAL, workshop.tutorial), (nncf.NAME, workshop.nncf), (ultralytics.NAME, workshop.ultralytics)):
            watch.stage(called)
            _take_in(peers, called, make, threads)
        peers.artifacts |= {called: workshop.folder_of(called) for called in workshop.made}
        yield peers


Made = tuple[Job, FrameJob | None]


def _take_in(peers: Peers, name: str, make: Callable[[int], Made], threads: list[int]) -> None:
    """Let a peer take part that can be made and has run once; otherwise say why not."""
    try:
        made = [make(count) for count in threads]
        _try_out(*made[0])
    except EdgewrightError as error:
        peers.left_out.append(LeftOut(name, str(error)))
        return
    peers.jobs += [job for job, _ in made]
    peers.frame_jobs += [frame_job for _, frame_job in made if frame_job is not None]


def _try_out(job: Job, frame_job: FrameJob | None) -> None:
    for command in (job.command, frame_job.command if frame_job else ()):
        if not command:
            continue
        with MeasuredProcess(job.name, command) as process:
            process.answer()


@dataclass(slots=True)
class _Workshop:
    model: Job
    given: Artifact
    folder: Path
    data: Path | None
    pythons: list[Path]
    source: Path | None
    watch: Watch
    made: dict[str, Job] = field(default_factory=dict)

    def tutorial(self, threads: int) -> Made:
        """Static QDQ over the whole graph, S8S8, per channel, reduce_range: in ONNX Runtime."""
        out = self.folder_of(TUTORIAL)
        if TUTORIAL not in self.made:
            request = QuantizeRequest(self.model.path, out, TUTORIAL_RECIPE, self._pictures(), CALIBRATION_PICTURES)
            quantize(request, watch=self.watch)
            self.made[TUTORIAL] = job_for(out, threads)
        return self._ours(TUTORIAL, threads)

    def nncf(self, threads: int) -> Made:
        """Quantized there, run here by our own engine with the options that our own artifacts get."""
        out = self.folder_of(nncf.NAME)
        if nncf.NAME not in self.made:
            peer = self._python_with(nncf.NAME, nncf.PACKAGES)
            if not is_installed("openvino"):
                raise InputError("OpenVINO is not installed here to run it", fix="run: pip install 'edgewright[openvino]'")
            dataset, _ = part_train_from_val(open_dataset(self._pictures()))
            chosen = choose_calibration(dataset, CALIBRATION_PICTURES, 0, progress=self.watch.advance)
            feeds = (feed[self.given.input.name] for feed in calibration_feeds(self.given, chosen))
            out.mkdir()
            nncf.quantize_with_nncf(peer, self.given, feeds, len(chosen.samples), out)
            self.made[nncf.NAME] = replace(job_for(out, threads), macs=self.model.macs, scheme="static")
        return self._ours(nncf.NAME, threads)

    def ultralytics(self, threads: int) -> Made:
        """The file as given, in its own Python."""
        peer = self._python_with(ultralytics.NAME, ultralytics.PACKAGES)
        like = replace(self.model, threads=threads, imgsz=self.given.input.size_wh[0])
        frame_job = None if self.source is None else ultralytics.frame_job(peer, like, self.source, self.folder)
        return ultralytics.model_job(peer, like, self.folder), frame_job

    def folder_of(self, name: str) -> Path:
        """Where a peer's artifact goes."""
        return self.folder / name.replace(" ", "-")

    def _ours(self, name: str, threads: int) -> Made:
        frame_job = None if self.source is None else FrameJob.of_ours(name, self.folder_of(name), self.source, threads)
        return replace(self.made[name], name=name, threads=threads), frame_job

    def _pictures(self) -> Path:
        if self.data is None:
            raise InputError("it is calibrated with pictures", got="no --data", fix="name a data set")
        return self.data

    def _python_with(self, name: str, packages: tuple[str, ...]) -> Peer:
        peer = first_with(packages, self.pythons)
        if peer is None:
            looked = ", ".join(str(python) for python in self.pythons) or "no --peer-python"
            raise InputError(f"{name} is not installed", got=looked, expected=" and ".join(packages), fix=BUILD)
        return peer
