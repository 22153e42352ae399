"""Hand mutated texts to what reads them, in a process of bounded memory: the inner loop of `test_text_mutations`.

`python text_trials.py KIND FIRST COUNT` prints a JSON object: how many were refused, and what was wrong with how (nothing, one hopes).
"""

import json
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import edgewright.data.folder
from edgewright.artifact import FILE_NAME, Artifact, ArtifactFile, HeadOutput, HeadSpec, InputSpec, Threshold, describe_file
from edgewright.board.profile import CATALOG, Board
from edgewright.data.cameras import open_camera
from edgewright.data.dataset import ALL, Dataset, open_dataset
from edgewright.errors import EdgewrightError

sys.path.insert(0, str(Path(__file__).parents[1]))
from text_mutations import mutated

from tiny_dataset import write_tiny_coco_json, write_tiny_dataset, write_tiny_voc

LONGEST_SENTENCE = 2000
MOST_S = 20
MORE_MEMORY = 1 << 30  # bytes, beyond what the imports took


@dataclass(frozen=True)
class Trial:
    """A sound text in its place: which file it is, how it is written, and what reads it."""

    file: Path
    syntax: str
    read: Callable[[], object]


def _all_of(dataset: Dataset) -> int:
    """Everything that a verb asks of a data set but its pictures."""
    classes = len(dataset.classes)
    samples = dataset.split(ALL)
    for sample in [*samples[:3], *samples[-1:]]:
        sample.class_ids(classes)
        truth = sample.truth((64, 64), classes)
        assert len(truth.boxes_xyxy) == len(truth.class_ids) == len(truth.areas) == len(truth.crowd)
        assert ((truth.class_ids >= 0) & (truth.class_ids < classes)).all()
    assert all(line.isprintable() and len(line) < LONGEST_SENTENCE for line in dataset.warnings), dataset.warnings
    return len(samples)


def data_yaml(folder: Path) -> Trial:
    path = write_tiny_dataset(folder / "set", 4, 4)
    return Trial(path, "yaml", lambda: _all_of(open_dataset(path)))


def label_lines(folder: Path) -> Trial:
    path = write_tiny_dataset(folder / "set", 2, 2)
    return Trial(folder / "set/labels/train/0000.txt", "lines", lambda: _all_of(open_dataset(path)))


def image_list(folder: Path) -> Trial:
    path = write_tiny_dataset(folder / "set", 4, 4)
    path.write_text(path.read_text().replace("train: images/train", "train: train.txt"))
    (folder / "set/train.txt").write_text("".join(f"images/train/{at:04d}.png\n" for at in range(4)))
    return Trial(folder / "set/train.txt", "lines", lambda: _all_of(open_dataset(path)))


def coco_json(folder: Path) -> Trial:
    path = write_tiny_coco_json(folder / "set", 2, 4) / "annotations/instances_val.json"
    return Trial(path, "json", lambda: _all_of(open_dataset(path)))


def coco_folder(folder: Path) -> Trial:
    root = write_tiny_coco_json(folder / "set", 4, 2)
    (root / "annotations/instances_train.json").rename(root / "annotations/train.json")
    (root / "annotations/instances_val.json").rename(root / "annotations/val.json")
    return Trial(root / "annotations/train.json", "json", lambda: _all_of(open_dataset(root)))


def voc_xml(folder: Path) -> Trial:
    root = write_tiny_voc(folder / "set", 3, 2)
    return Trial(root / "Annotations/train_0000.xml", "xml", lambda: _all_of(open_dataset(root)))


def image_set(folder: Path) -> Trial:
    root = write_tiny_voc(folder / "set", 3, 2)
    return Trial(root / "ImageSets/Main/train.txt", "lines", lambda: _all_of(open_dataset(root)))


def artifact_json(folder: Path) -> Trial:
    sound_artifact(folder)
    return Trial(folder / FILE_NAME, "json", lambda: Artifact.load(folder).to_json())


def sound_artifact(folder: Path) -> Artifact:
    """Every optional field is in use; the model is a few bytes, which nothing here opens."""
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(b"\x08\x08model")
    files: tuple[ArtifactFile, ...] = (describe_file(folder / "model.onnx", folder),)
    outputs = tuple(HeadOutput(f"out{stride}", "combined", stride) for stride in (8, 16))
    artifact = Artifact(
        name="tiny",
        engine="onnxruntime",
        precision="int8",
        files=files,
        input=InputSpec("images", (1, 3, 64, 64)),
        head=HeadSpec("yolov5", (8, 16), None, outputs, (((10.0, 13.0), (16.0, 30.0)), ((30.0, 61.0), (62.0, 45.0)))),
        classes=("red", "green", "blue"),
        folder=folder,
        threshold=Threshold(0.3, 0.6, {"red": 0.4}),
        scheme={"recipe": {"mode": "static"}, "float_nodes": ["a", "b"]},
        lineage={"source_digest": "sha256:00", "calibration_digest": None, "tools": {"edgewright": "0"}},
    )
    (folder / FILE_NAME).write_text(json.dumps(artifact.to_json()))
    return artifact


def camera_toml(folder: Path) -> Trial:
    path = folder / "camera.toml"
    path.write_text(CAMERA)
    return Trial(path, "toml", lambda: open_camera(str(path)))


CAMERA = """name = "line"
[defocus]
radius_px = [0.5, 1.5]
[exposure]
ev = -1
[sensor]
gain_ev = [1, 2.0]
full_well_e = 4000
read_noise_e = [3.0, 6.0]
[jpeg]
quality = [40, 70]
chroma = "4:2:2"
"""


def board_toml(folder: Path) -> Trial:
    path = folder / "board.toml"
    path.write_bytes((CATALOG / "rpi5.toml").read_bytes())
    return Trial(path, "toml", lambda: Board.load(str(path)))


TRIALS: dict[str, Callable[[Path], Trial]] = {
    trial.__name__: trial
    for trial in (
        data_yaml,
        label_lines,
        image_list,
        coco_json,
        coco_folder,
        voc_xml,
        image_set,
        artifact_json,
        camera_toml,
        board_toml,
    )
}


def what_is_wrong(trial: Trial, content: bytes) -> tuple[bool, str | None]:
    """Whether the text was refused, and what is wrong with how it was taken."""
    trial.file.write_bytes(content)
    try:
        trial.read()
    except EdgewrightError as error:
        sentence = str(error)
        if error.exit_code != 2:
            return True, f"exit code {error.exit_code}: {sentence[:500]}"
        if len(sentence) >= LONGEST_SENTENCE or not sentence.isprintable():
            return True, f"not one short printable line: {sentence[:500]!a}"
        return True, None
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return False, f"{type(error).__name__}: {str(error)[:500]}"
    return False, None


class TookTooLong(BaseException):
    """The hang guard."""


def _give_up(*_signal: object) -> None:
    raise TookTooLong


def main(kinds: list[str], first: int, count: int) -> dict[str, object]:
    """Hand out `count` mutations of each kind, the first of them with the seed `first`."""
    signal.signal(signal.SIGALRM, _give_up)
    edgewright.data.folder.MOST_FILES = 20_000  # a yaml may name the whole disk of whoever runs this
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MORE_MEMORY, in_use + MORE_MEMORY))
    refused, wrong = dict.fromkeys(kinds, 0), []
    for kind in kinds:
        folder = Path(tempfile.mkdtemp()) / "a/b"
        folder.mkdir(parents=True)
        trial = TRIALS[kind](folder)
        sound = trial.file.read_bytes()
        for seed in range(first, first + count):
            signal.alarm(MOST_S)
            try:
                said_no, what = what_is_wrong(trial, mutated(sound, trial.syntax, seed))
            except TookTooLong:
                said_no, what = False, f"took more than {MOST_S} s"
            signal.alarm(0)
            refused[kind] += said_no
            if what is not None:
                wrong.append(f"{kind} {seed}: {what}")
        shutil.rmtree(folder.parents[1])
    return {"refused": refused, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1].split(","), int(sys.argv[2]), int(sys.argv[3]))))
