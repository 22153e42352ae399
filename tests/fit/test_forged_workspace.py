"""Someone has written our working folder anew, digests and all: what cannot be true is done again, and no picture of theirs is shown."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgewright.artifact import sha256_of
from edgewright.compress.candidates import prepare_float_forms
from edgewright.compress.recipes import INT8, RECIPES
from edgewright.data.array_file import write_arrays
from edgewright.fit import Budget, FitRequest, fit
from edgewright.fit.journal import digest_of
from edgewright.fit.opening import open_float_model
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

FORGED_RESULTS = {
    "empty": {},
    "of other types": dict.fromkeys(
        ("error", "pictures", "sha256", "rows", "kept_float", "measurements", "findings", "regions", "layers", "start", "images", "boxes"),
        "x",
    ),
    "of nothing": dict.fromkeys(
        ("error", "pictures", "sha256", "rows", "kept_float", "measurements", "findings", "regions", "layers", "start"), None
    ),
    "of other things": {
        "error": [],
        "pictures": ["/etc/passwd"],
        "sha256": ["0"],
        "rows": [1],
        "kept_float": ["no such node"],
        "measurements": [{"job": {"name": "x", "path": "y"}}],
        "findings": [{"severity": 1}],
        "regions": [{"nodes": ["no such node"]}],
        "layers": [],
        "start": "nowhere",
    },
}


@pytest.fixture(scope="module", params=[pytest.param((INT8,), id="told"), pytest.param(None, id="searched", marks=pytest.mark.soak)])
def done(tmp_path_factory, request):
    """A finished fit, and the request to resume it."""
    folder = tmp_path_factory.mktemp("done")
    data = write_tiny_dataset(folder / "data", train=12, val=6)
    asked = FitRequest(
        save_tiny_detector(folder / "tiny.onnx"),
        data,
        folder / "out",
        Budget(max_drop=100),
        threads=1,
        images=4,
        recipes=request.param,
        engines=("onnxruntime",),
    )
    return replace(asked, resume=True), fit(asked).to_json()


def figures(evidence):
    """What does not hang on time: which layers are tried in float follows from what they cost."""
    told = {"baseline", *(recipe.name for recipe in RECIPES)}
    rows = [(each["name"], each["map50_95"], each["agreement"]) for each in evidence["candidates"] if each["name"] in told]
    return rows, evidence["baseline"]["map50_95"]


def forge(work, change):
    """Every line of the journal, changed, with a digest that is right again."""
    path = work / "journal.jsonl"
    lines = []
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        entry.pop("digest")
        change(entry)
        lines.append(json.dumps({**entry, "digest": digest_of(entry)[:16]}))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("forged", FORGED_RESULTS)
def test_results_that_cannot_be_are_made_again(done, tmp_path, forged):
    request, evidence = done
    out = tmp_path / "out"
    shutil.copytree(request.out, out)
    forge(out / ".fit", lambda entry: entry.update(result=FORGED_RESULTS[forged]))
    resumed = fit(replace(request, out=out)).to_json()
    assert figures(resumed) == figures(evidence)


def test_arrays_that_cannot_be_are_made_again_and_a_stranger_s_picture_is_not_shown(done, tmp_path):
    request, evidence = done
    out, secret = tmp_path / "out", tmp_path / "secret.png"
    shutil.copytree(request.out, out)
    cv2.imwrite(str(secret), np.full((8, 8, 3), 9, np.uint8))
    held = {path: dict(np.load(path)) for path in (out / ".fit").glob("*.npz")}
    assert len(held) >= 4  # statistics, and what models say on both splits
    for path, arrays in held.items():
        if "pictures" in arrays:
            arrays["pictures"] = np.array([str(secret), *arrays["pictures"][1:]])
        elif "counts" in arrays:
            arrays["counts"] = arrays["counts"][:, :7]
        else:  # shifts of biases
            arrays["shift0"] = np.zeros(arrays["shift0"].size + 1, np.float32)
        write_arrays(path, arrays)
    forge(
        out / ".fit",
        lambda entry: entry["files"].update(
            {name: sha256_of(out / ".fit" / name) for name in entry["files"] if (out / ".fit" / name).is_file()}
        ),
    )
    assert figures(fit(replace(request, out=out)).to_json()) == figures(evidence)
    assert "secret.png" not in (out / "report.html").read_text()


@pytest.mark.parametrize("forged", ["folded.onnx", "cut.onnx"])
def test_a_float_form_that_is_no_model_is_made_again(done, tmp_path, forged):
    request, evidence = done
    out = tmp_path / "out"
    shutil.copytree(request.out, out)
    (out / ".fit/float").mkdir()
    prepare_float_forms(open_float_model(request.model), out / ".fit/float")
    (out / ".fit/float" / forged).write_bytes(b"\x08\x08 no model")
    forge(
        out / ".fit",
        lambda entry: entry["files"].update(
            {each: sha256_of(out / ".fit" / each) for each in entry["files"] if (out / ".fit" / each).is_file()}
        ),
    )
    assert figures(fit(replace(request, out=out)).to_json()) == figures(evidence)
