"""A checkpoint comes back as it was, and what is none is refused in one sentence."""

import errno
import json
import os
import struct

import pytest

torch = pytest.importorskip("torch", reason="PyTorch learns and nothing else: pip install 'edgewright[learn]'")

from edgewright.errors import DiskError, InputError  # noqa: E402
from edgewright.learn import checkpoint  # noqa: E402
from edgewright.learn.checkpoint import Checkpoint  # noqa: E402

TENSORS = {
    "model.weight": torch.arange(24.0).reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
    "model.count": torch.tensor(7),
    "average.weight": torch.ones(3, dtype=torch.bfloat16),
}
FACTS = {"step": 12, "elapsed_s": 3.5}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    Checkpoint(TENSORS, FACTS).write(path)
    return path


def test_what_was_written_is_read(path):
    found = Checkpoint.read(path)

    assert found.facts == FACTS
    assert found.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(found.tensors[name], tensor) and found.tensors[name].dtype == tensor.dtype for name, tensor in TENSORS.items())
    assert found.part("model.").keys() == {"weight", "count"}
    assert list(path.parent.iterdir()) == [path]


def test_writing_again_replaces_and_a_failure_leaves_what_was_there(path, monkeypatch):
    Checkpoint(TENSORS, {**FACTS, "step": 13}).write(path)
    assert Checkpoint.read(path).facts["step"] == 13

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="no space left"):
        Checkpoint(TENSORS, FACTS).write(path)
    assert Checkpoint.read(path).facts["step"] == 13
    assert list(path.parent.iterdir()) == [path]


def refusal_of(path):
    with pytest.raises(InputError, match="is no checkpoint") as refusal:
        Checkpoint.read(path)
    sentence = str(refusal.value)
    assert sentence.isprintable()
    assert len(sentence) < 600
    assert refusal.value.fix
    return sentence


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    refusal_of(path)


def with_header(header, body=b""):
    said = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(said)) + said + body


@pytest.mark.parametrize(
    "content",
    [
        b"not a checkpoint",
        b"\x80\x02}q\x00.",  # a pickle
        b"PK\x03\x04" + b"\0" * 100,  # as PyTorch's own files begin
        b"\xff" * 64,
        with_header([]),
        with_header({}),
        with_header({"__metadata__": {"other": "{}"}}),
        with_header({"__metadata__": {"facts": "{"}}),
        with_header({"__metadata__": {"facts": "12"}}),
        with_header({"__metadata__": {"facts": "[" * 100_000}}),
        with_header(b"[" * 100_000),
        with_header({"__metadata__": {"facts": "{}"}, "a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        with_header({"__metadata__": {"facts": "{}"}, "a": {"dtype": "\x1b[31m", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
    ],
    ids=range(13),
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "c"
    path.write_bytes(content)

    refusal_of(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    assert "not a regular file" in refusal_of(tmp_path / "pipe")
    assert "not a regular file" in refusal_of(tmp_path)
    assert "No such file" in refusal_of(tmp_path / "nothing\x1b[31m")


def test_a_file_past_the_limit_is_not_read(path, monkeypatch):
    monkeypatch.setattr(checkpoint, "MOST_BYTES", 50)

    assert "more than 50 bytes" in refusal_of(path)
