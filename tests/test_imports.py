"""Which way imports point: down. And what a board must not have to load."""

import ast
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import edgewright

PACKAGE = Path(edgewright.__file__).parent

# From the top down. A room may import from any line below its own; neighbours on a line stay apart.
LAYERS = (
    ("cli",),
    ("demo", "serve", "watch", "doctor", "testing"),
    ("fit",),
    ("run", "release", "learn"),
    ("compress", "accuracy", "bench", "plan"),
    ("detector",),
    ("door",),
    ("engines", "data"),
    ("board", "graph", "result_folder", "vision"),
    ("artifact", "clock", "detections", "stats", "progress", "whole_file"),
    ("errors", "printable", "regular_file", "version"),
)
DEPTH = {room: depth for depth, line in enumerate(LAYERS) for room in line}
# The package itself offers nouns of several rooms, imported when they are first used; `python -m edgewright` is the command.
DOORS = {"edgewright", "__main__"}


def imports():
    """(importing room, imported room, where) for every import of ours, lazy ones included."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = "edgewright" if parts == ("__init__",) else parts[0]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for name in imported_names(node):
                words = name.split(".")
                if words[0] == "edgewright" and len(words) > 1:
                    yield room, words[1], f"{path.relative_to(PACKAGE)}:{node.lineno}"


def imported_names(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        return [f"{node.module}.{alias.name}" if node.module == "edgewright" else str(node.module) for alias in node.names]
    return []


def test_every_room_has_its_line():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - DOORS - {"__init__"} <= set(DEPTH)


def test_imports_point_down_and_neighbours_stay_apart():
    wrong = [
        f"{where} imports {imported}"
        for room, imported, where in imports()
        if room not in DOORS and room != imported and DEPTH[imported] <= DEPTH[room]
    ]
    assert wrong == []


def test_the_lines_hold_no_room_twice():
    assert len(DEPTH) == sum(map(len, LAYERS))
    assert all(set(above).isdisjoint(below) for above, below in pairwise(LAYERS))


def loaded_by(statement: str) -> set[str]:
    """The outermost modules that a fresh interpreter holds after the statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(done.stdout.splitlines()[-1]))


ENGINES_AND_FRIENDS = {"onnx", "onnxruntime", "torch", "safetensors", "pycocotools", "yaml", "jinja2", "matplotlib", "pandas"}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import edgewright", {"numpy", "cv2", "typer", "rich"} | ENGINES_AND_FRIENDS),
        ("import edgewright.cli", {"numpy", "cv2"} | ENGINES_AND_FRIENDS),
        ("import edgewright; edgewright.Detections", {"cv2"} | ENGINES_AND_FRIENDS),
        ("import edgewright.detector", {"typer", "rich"} | ENGINES_AND_FRIENDS),
        ("import edgewright.bench.child", {"cv2", "typer", "rich"} | ENGINES_AND_FRIENDS),
    ],
)
def test_what_is_not_needed_is_not_loaded(statement, unwanted):
    assert not loaded_by(statement) & unwanted


def test_every_name_the_package_offers_is_there():
    for name in edgewright.__all__:
        assert getattr(edgewright, name) is not None, name
    with pytest.raises(AttributeError, match="has no attribute 'teleport'"):
        _ = edgewright.teleport
