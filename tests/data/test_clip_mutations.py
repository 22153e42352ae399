"""Hundreds of broken clips: no crash, no hang, and the counts are right."""

import itertools
import json
import math
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import clip_mutations
import pytest
from clip_mutations import FRAMES, Clip, mutations, read, sound_clips

AT_ONCE = 40  # clips a child process
LIMIT_S = 240  # for so many; a hang, not slowness, reaches it


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return sound_clips(tmp_path_factory.mktemp("sound"))


def findings_of(broken, folder):
    """Each clip read by a child process; one that a crash ends names the clip."""
    paths = {}
    for number, mutation in enumerate(broken):
        path = folder / f"{number:04d}{mutation.suffix}"
        path.write_bytes(mutation.data)
        paths[str(path)] = mutation
    names = list(paths)
    for start in range(0, len(names), AT_ONCE):
        group = names[start : start + AT_ONCE]
        command = [sys.executable, clip_mutations.__file__, *group]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        lines = [json.loads(line) for line in ran.stdout.splitlines()]
        began = [line["begun"] for line in lines if "begun" in line]
        assert ran.returncode == 0, f"{paths[began[-1]].name} ended the process with {ran.returncode}: {ran.stderr[-2000:]}"
        assert ran.stderr == "", f"the decoder's own words are shown: {ran.stderr[:500]}"
        for line in lines:
            if "done" in line:
                yield paths[line.pop("done")], line
        for name in group:
            Path(name).unlink()


def assert_sensible(mutation, found, original):
    if "refused" in found:
        assert re.match(r"no frame of \S+ can be decoded; got ", found["refused"]), (mutation.name, found)
        return
    indices, times, sums = zip(*found["seen"], strict=True)
    assert found["frames"] == len(indices) > 0, mutation.name
    assert all(first < second for first, second in itertools.pairwise(indices)), mutation.name
    assert all(first < second for first, second in itertools.pairwise(times)), mutation.name
    assert all(math.isfinite(time) and time >= 0 for time in times), mutation.name
    if found["expected"] is not None:
        assert found["frames"] + found["missing"] == found["expected"], (mutation.name, found)
        # An AVI passes over the numbers of frames that it shows longer.
        assert max(indices) < found["expected"] or mutation.origin == "avi", (mutation.name, found)
    assert (found["broke_at"] is None) == (found["missing"] == 0), (mutation.name, found)
    assert found["damaged"] <= found["after_break"] <= found["frames"], mutation.name
    if found["broke_at"] is not None:
        assert found["broke_at"] not in indices, mutation.name
        assert found["after_break"] == sum(index > found["broke_at"] for index in indices), mutation.name
    sound = mutation.sound_frames
    assert list(zip(indices, sums, strict=True))[:sound] == original[:sound], f"{mutation.name}: of {sound} untouched frames"


def check(clips, broken, folder):
    originals = {}
    for name, clip in clips.items():
        path = folder / f"original{clip.suffix}"
        path.write_bytes(clip.data)
        whole = read(path)
        assert (whole["frames"], whole["broke_at"], whole["missing"], whole["damaged"]) == (clip.frames, None, 0, 0), name
        originals[name] = [(index, checksum) for index, _, checksum in whole["seen"]]
    outcomes = Counter()
    for mutation, found in findings_of(broken, folder):
        assert_sensible(mutation, found, originals[mutation.origin])
        outcomes["refused" if "refused" in found else "whole" if found["broke_at"] is None else "broken"] += 1
    return outcomes


def test_the_generator_makes_the_same_clips_again_and_more_than_250(clips):
    first, second = ([(mutation.name, mutation.data) for mutation in mutations(clips)] for _ in range(2))
    assert first == second
    assert len(first) > 250
    assert len({name for name, _ in first}) == len(first)
    assert {clip.frames for clip in clips.values()} == {FRAMES}


def test_sixty_broken_clips_are_read_as_far_as_they_go(clips, tmp_path):
    broken = list(mutations(clips, seed=1))
    outcomes = check(clips, broken[:: len(broken) // 60], tmp_path)
    assert outcomes.total() >= 60
    assert min(outcomes["refused"], outcomes["whole"], outcomes["broken"]) >= 5, outcomes


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_every_broken_clip_is_read_as_far_as_it_goes(clips, tmp_path, seed):
    print(f"broken clips, seed {seed}: {dict(check(clips, list(mutations(clips, seed)), tmp_path))}")


@pytest.mark.soak
def test_every_break_of_real_clips_is_read_as_far_as_it_goes(test_data, tmp_path):
    real = {
        path.stem: Clip(path.suffix, path.read_bytes(), frames)
        for path, frames in (
            (test_data / "video/bottle-detection.mp4", 1189),
            (test_data / "video/bolt-multi-size-detection.gif", 37),
            (test_data / "video/car-detection.mp4", 377),
        )
    }
    print(f"broken real clips: {dict(check(real, list(mutations(real)), tmp_path))}")
