"""What clients, and people, are told of an exported model: Triton moves tensors, and what they mean is the client's business.

edgewright.json says it for programs, README.md for people; labels.txt has a class a line, kserve.yaml is a beginning for a cluster.
Texts of strangers (names of classes and tensors) are shown as text; in labels.txt none of them makes two lines.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from edgewright.artifact import Artifact, ArtifactFile, HeadOutput, HeadSpec, InputSpec
from edgewright.printable import printable
from edgewright.serve.triton_config import ANY, ModelConfig, Tensor
from edgewright.version import __version__

SCHEMA: Final = 1
PAPERS: Final = ("labels.txt", "edgewright.json", "README.md", "kserve.yaml")
MOST_BOXES: Final = 300  # a picture, as in the evaluation protocol
LONGEST_CLUSTER_NAME: Final = 50  # of the 63 that a DNS label has: KServe makes longer names of it
BACKEND_TITLES: Final = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


@dataclass(frozen=True, slots=True)
class Subject:
    """What was exported: where it came from; `artifact` where it is a detector."""

    name: str
    engine: str
    precision: str
    files: tuple[ArtifactFile, ...]
    engine_version: str
    artifact: Artifact | None

    def to_json(self, config: ModelConfig) -> dict[str, Any]:
        """The document of edgewright.json."""
        artifact = self.artifact
        return {
            "schema": SCHEMA,
            "name": config.name,
            "version": config.version,
            "backend": config.backend,
            "max_batch_size": config.max_batch_size,
            "inputs": [_tensor_as_json(each) for each in config.inputs],
            "outputs": [_tensor_as_json(each) for each in config.outputs],
            "source": {
                "name": self.name,
                "engine": self.engine,
                "engine_version": self.engine_version,
                "precision": self.precision,
                "sha256": self.files[0].sha256,
                "edgewright": __version__,
            },
            "detector": None
            if artifact is None
            else {
                "input": artifact.input.to_json(),
                "head": asdict(artifact.head),
                "classes": list(artifact.classes),
                "threshold": asdict(artifact.threshold),
                "most_boxes": MOST_BOXES,
            },
        }


def papers(subject: Subject, config: ModelConfig) -> dict[str, str]:
    """Every paper's text by its name."""
    classes = subject.artifact.classes if subject.artifact is not None else ()
    texts = (
        "".join(f"{printable(name, 1000)}\n" for name in classes),
        json.dumps(subject.to_json(config), indent=2) + "\n",
        "\n".join(_read_me(subject, config)) + "\n",
        _kserve(config),
    )
    return dict(zip(PAPERS, texts, strict=True))


def _tensor_as_json(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _read_me(subject: Subject, config: ModelConfig) -> Iterator[str]:
    yield f"# {config.name}, version {config.version}"
    yield ""
    yield (
        f"{_code(subject.name)}, computing in {subject.precision}, for Triton's {BACKEND_TITLES[config.backend]} backend"
        f" (opened here with {BACKEND_TITLES[config.backend]} {subject.engine_version}; the server's should not be older)."
        f" Written by edgewright {__version__}; `edgewright.json` says all of this for programs."
    )
    yield ""
    yield "```"
    yield "tritonserver --model-repository=FOLDER    # the folder that holds this one"
    yield "```"
    yield ""
    if config.backend == "openvino":
        yield from _openvino_words(subject.precision)
    yield "| | name | datatype | shape |"
    yield "|---|---|---|---|"
    for kind, tensors in (("input", config.inputs), ("output", config.outputs)):
        for tensor in tensors:
            yield f"| {kind} | {_code(tensor.name)} | {tensor.datatype} | {_shape(tensor)} |"
    yield ""
    if config.max_batch_size:
        yield f"The first axis is the batch: 1 to {config.max_batch_size} a request."
        yield ""
    artifact = subject.artifact
    if artifact is None:
        yield "This is no detector that edgewright decodes; what the tensors mean, whoever trained it knows."
        return
    yield "Triton moves tensors. What comes before and after is the client's:"
    yield ""
    yield from _before(artifact.input)
    yield from _after(artifact)


def _openvino_words(precision: str) -> Iterator[str]:
    if precision == "bfloat16":
        yield (
            "`HINT_BF16` asks for bfloat16, which is fast where the processor has AMX, and slower than float32 everywhere else, also with"
            " AVX-512 BF16: serve it there only."
        )
    else:
        yield (
            "The backend cannot be told to compute in float32: what is float in this model computes in bfloat16 where the processor has"
            " that in hardware, with answers that differ in the third digit."
        )
    yield ""


def _before(spec: InputSpec) -> Iterator[str]:
    wide, high = spec.size_wh
    yield f"## Before: a picture to {_code(spec.name)}"
    yield ""
    yield "1. Decode to 8-bit RGB, `w` x `h` pixels, turned as its EXIF tag says."
    yield (
        f"2. Scale it by `s = min({wide} / w, {high} / h)`, bilinear, to `round(w * s)` x `round(h * s)` pixels. Smooth it before"
        " shrinking, or fine detail is lost: edgewright uses a triangle as wide as the shrinking, and OpenCV's INTER_AREA comes close."
    )
    yield (
        f"3. Lay it into a picture of {wide} x {high} filled with {spec.letterbox_value}:"
        f" `left = round(({wide} - round(w * s)) / 2 - 0.1)`, `top` likewise."
    )
    yield "4. " + ("Turn the channels around: it eats BGR." if spec.colour == "BGR" else "Leave the channels as they are: it eats RGB.")
    yield "5. " + ("Leave the bytes as they are." if spec.dtype == "uint8" else f"As float32: `{_value_of_a_pixel(spec)}`.")
    axes = "rows, columns, channels" if spec.layout == "NHWC" else "channels, rows, columns"
    yield f"6. Axes: batch, {axes} ({spec.layout})."
    yield ""


def _value_of_a_pixel(spec: InputSpec) -> str:
    shifted = f"(pixel - {list(spec.mean)})" if any(spec.mean) else "pixel"
    if spec.scale == 1:
        return shifted
    divisor = round(1 / spec.scale) if spec.scale else 0
    return f"{shifted} / {divisor}" if divisor and 1 / divisor == spec.scale else f"{shifted} * {spec.scale!r}"


def _after(artifact: Artifact) -> Iterator[str]:
    head, threshold = artifact.head, artifact.threshold
    yield "## After: tensors to boxes"
    yield ""
    at = 1
    for line in _decoding(head, len(artifact.classes), artifact.input.size_wh):
        yield f"{at}. {line}"
        at += 1
    own = "" if not threshold.per_class else "; some classes need a score of their own, see `threshold.per_class`"
    yield f"{at}. Keep what scores above {threshold.score:g}{own}."
    at += 1
    if head.needs_nms:
        yield (
            f"{at}. Suppress, class by class, best score first: a box goes when a better one of its class overlaps it by an IoU above"
            f" {threshold.iou:g}. Keep at most {MOST_BOXES}."
        )
    else:
        yield f"{at}. No suppression: the network gives one box an object. Keep the best {MOST_BOXES}."
    yield f"{at + 1}. Back to the picture: `x = (x - left) / s`, `y = (y - top) / s`, clipped to it."
    yield f"{at + 2}. Class numbers are lines of `labels.txt`, from 0."
    yield ""
    yield "With edgewright installed, `Detector.interpret` is all that comes after the network."


def _decoding(head: HeadSpec, classes: int, size_wh: tuple[int, int]) -> Iterator[str]:
    """What is to be done with the tensors of each family, as `vision.heads` does it."""
    if any(output.scale is not None for output in head.outputs):
        for output in head.outputs:
            if output.scale is not None:
                yield f"{_code(output.name)} holds integers: each is worth `(integer - {output.zero_point}) * {output.scale!r}`."
    if not head.is_raw:
        yield from _decoded(head, classes)
        return
    first = head.outputs[0]
    if first.role == "undecoded":
        yield (
            f"{_code(first.name)}, a row a cell, grid after grid (strides {_numbers(head.strides)} of {size_wh[0]} x {size_wh[1]} pixels,"
            f" row by row), holds {5 + classes} values: dx, dy, log w, log h in cells, objectness, and {classes} classes' probabilities."
            " Centre `(dx + column, dy + row) * stride`, size `exp(log) * stride`; score = objectness * best class."
        )
        return
    yield f"Outputs are the last convolutions of {len(head.strides)} grids, logits; `sigmoid(x) = 1 / (1 + exp(-x))`: {_by_stride(head)}."
    if head.family == "yolov5":
        yield (
            f"Channels of a cell: for each anchor {5 + classes} values (x, y, w, h, objectness, {classes} classes), all through sigmoid."
            " Centre `(2 * x - 0.5 + column, 2 * y - 0.5 + row) * stride`, size `(2 * w) ** 2 * anchor width` and the same of the height;"
            f" score = objectness * best class. Anchors by stride, in pixels: {_anchors(head)}."
        )
    elif head.family == "yolox":
        yield (
            "Box channels dx, dy, log w, log h in cells: centre `(dx + column, dy + row) * stride`, size `exp(log) * stride`;"
            " score = sigmoid(objectness) * sigmoid(best class)."
        )
    else:
        bins = head.reg_max or 1
        sides = (
            "the box channels are the distances to left, top, right, bottom in cells"
            if bins == 1
            else f"the box channels are four times {bins} logits (left, top, right, bottom): the softmax over each {bins}, times"
            f" 0..{bins - 1}, summed, is the distance in cells"
        )
        yield (
            f"A cell's centre is `(column + 0.5, row + 0.5) * stride`; {sides}; times the stride they are pixels."
            " Score = sigmoid(best class)."
        )
        if not head.needs_nms:
            yield "Take the 300 cells with the best class, of them the 300 best pairs of a cell and a class."


def _decoded(head: HeadSpec, classes: int) -> Iterator[str]:
    name, corners = _code(head.outputs[0].name), "Corners: centre minus and plus half the size."
    if head.family == "end2end":
        yield f"{name}: a row a box, x1, y1, x2, y2 in pixels of the input, score, class number."
    elif head.family == "yolov8":
        yield (
            f"{name}: for each cell (the axis that is not {4 + classes}) centre x, centre y, width, height in pixels of the input, then a"
            f" probability for each of {classes} classes; score = the largest. {corners}"
        )
    else:
        yield (
            f"{name}: for each box (the axis that is not {5 + classes}) centre x, centre y, width, height in pixels of the input, then"
            f" objectness and a probability for each of {classes} classes; score = objectness * the largest. {corners}"
        )


def _by_stride(head: HeadSpec) -> str:
    return ", ".join(f"{_code(output.name)} {_role(output)}" for output in head.outputs)


def _role(output: HeadOutput) -> str:
    return f"{output.role} of stride {output.stride}"


def _anchors(head: HeadSpec) -> str:
    return "; ".join(
        f"{stride}: {', '.join(f'{wide:g} x {high:g}' for wide, high in sizes)}"
        for stride, sizes in zip(head.strides, head.anchors or (), strict=True)
    )


def _numbers(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join("any" if side == ANY else str(side) for side in tensor.shape) + "]"


def _code(name: str) -> str:
    """Somebody's text, as code that ends where it should, on one line of a table."""
    return f"`{printable(name.replace('`', chr(39)).replace('|', '/'), 200)}`"


def _kserve(config: ModelConfig) -> str:
    """An InferenceService for KServe's own runtime kserve-tritonserver, which serves the format `triton` in protocol v2."""
    name = re.sub(r"[^a-z0-9]+", "-", config.name.lower()).strip("-")[:LONGEST_CLUSTER_NAME].strip("-")
    name = name if name[:1].isalpha() else f"model-{name}".strip("-")
    return f"""\
# kubectl apply -f kserve.yaml, once storageUri says where the model repository is: the folder that holds {config.name}/.
# Its runtime listens for the Open Inference Protocol: /v2/models/{config.name}/infer
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {name}
spec:
  predictor:
    model:
      modelFormat:
        name: triton
      protocolVersion: v2
      runtime: kserve-tritonserver
      storageUri: pvc://CLAIM/PATH-OF-THE-REPOSITORY
"""
