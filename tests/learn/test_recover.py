"""Changes, one upon the other: what each leaves for the next, what is learned again, and when it is enough."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="what learns needs PyTorch: pip install 'edgewright[learn]'")
pytest.importorskip("safetensors", reason="what learns needs safetensors: pip install 'edgewright[learn]'")

import tiny_detector  # noqa: E402
from edgewright.board.profile import Board  # noqa: E402
from edgewright.compress.candidates import prepare_float_forms  # noqa: E402
from edgewright.compress.quantize import choose_ranges, quantize_static  # noqa: E402
from edgewright.compress.recipes import INT8  # noqa: E402
from edgewright.compress.schemes import scheme_for  # noqa: E402
from edgewright.data.dataset import open_dataset  # noqa: E402
from edgewright.detector import Detector  # noqa: E402
from edgewright.door.admission import admit_detector  # noqa: E402
from edgewright.engines import is_installed, open_engine  # noqa: E402
from edgewright.errors import InputError, ModelError  # noqa: E402
from edgewright.fit.watch import Silent  # noqa: E402
from edgewright.graph.cost import mac_count  # noqa: E402
from edgewright.graph.metadata import RANGES_KEY, trained_ranges  # noqa: E402
from edgewright.learn import recover  # noqa: E402
from edgewright.learn.changes import SwapActivation  # noqa: E402
from edgewright.learn.curve import PATIENCE, WORSE, Check, Curve, best_of  # noqa: E402
from edgewright.learn.recipe import parse_recipe  # noqa: E402
from edgewright.learn.recover import Material, Recovery  # noqa: E402
from edgewright.learn.rounding import encodings_of  # noqa: E402
from edgewright.learn.studio import Stopwatch  # noqa: E402
from edgewright.learn.swap import swap_activations  # noqa: E402
from edgewright.learn.trainable import silu_pairs  # noqa: E402
from tiny_dataset import write_tiny_dataset  # noqa: E402
from tiny_detector import save_tiny_detector  # noqa: E402

SIDE = 128  # so that the half of it still has every grid


class Clock:
    """What the stopwatch says, and how often it was asked: half of the channels of a grid save less than half of the time."""

    def __init__(self, monkeypatch):
        self.asked, self.milliseconds = 0, 10.0
        monkeypatch.setattr(Stopwatch, "milliseconds", self._milliseconds)
        monkeypatch.setattr(Stopwatch, "saved_share", self._saved_share)

    def _milliseconds(self, *_):
        self.asked += 1
        return self.milliseconds

    def _saved_share(self, *_):
        self.asked += 1
        return 0.2


class Counted(Silent):
    """A watch that keeps what it is told."""

    def __init__(self):
        self.stages, self.notes = [], []

    def stage(self, name):
        self.stages.append(name)

    def note(self, text):
        self.notes.append(text)

    @property
    def begun(self):
        return [name.removesuffix(": prepare") for name in self.stages if name.endswith(": prepare")]


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Small batches, short passes, one thread, and a clock that always says the same."""
    monkeypatch.setattr(recover, "MOST_IN_BATCH", 4)
    monkeypatch.setattr(recover, "FEWEST_A_PASS", 16)
    monkeypatch.setattr(recover, "usable_cores", lambda: 1)
    monkeypatch.setattr("edgewright.learn.studio.CALIBRATION_FRAMES", 8)
    monkeypatch.setattr("edgewright.learn.studio.IMPORTANCE_BATCHES", 2)
    yield Clock(monkeypatch)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """A detector wide enough to lose channels on any processor."""
    folder = tmp_path_factory.mktemp("wide")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_detector, "CHANNELS", 32)
        save_tiny_detector(folder / "wide.onnx", size=SIDE)
    (folder / "forms").mkdir()
    return prepare_float_forms(admit_detector(folder / "wide.onnx"), folder / "forms")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(write_tiny_dataset(tmp_path_factory.mktemp("data"), train=34, val=2, size_wh=(SIDE, SIDE)))


@pytest.fixture
def recovery(forms, dataset, tmp_path):
    """A recovery in a folder of its own; `recovery(watch=...)` is a second one in the same."""

    def begun(**options):
        frames = options.pop("frames", dataset.split("train"))
        options.setdefault("watch", Counted())
        return Recovery(options.pop("forms", forms), Material(dataset, frames), tmp_path / "stages", threads=1, **options)

    return begun


@pytest.fixture
def widths_timed(recovery):
    """Where figures are kept, and what they are about."""
    return recovery().studio, ["a width", "another"]


def macs_of(stage):
    return mac_count(stage.student.cut())


def answers_of(stage):
    """Shapes of what the network says of a grey picture of the size that it is meant for, cut at its head."""
    path = stage.path.with_suffix(".asked.onnx")
    onnx.save(stage.student.cut(), path)
    wide, high = stage.student.input.size_wh
    feed = {stage.student.input.name: np.full((1, 3, high, wide), 0.4, np.float32)}
    engine = open_engine("onnxruntime", path, threads=1)
    try:
        return [each.shape for each in engine.run(feed)]
    finally:
        engine.close()
        path.unlink()


# --- changes compose ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    ["swap,prune=0.3,qat", "prune=0.3,swap", "swap=hardswish,prune=0.3t", f"shrink={SIDE // 2},qat", f"prune=0.4,shrink={SIDE // 2}"],
)
def test_changes_compose(recovery, forms, recipe):
    stages = recovery(scale=0.1).run(parse_recipe(recipe))
    names = [stage.name for stage in stages]
    last = stages[-1].student
    made = last.with_ranges()

    assert names == recipe.split(",")
    onnx.checker.check_model(made)
    assert [each.name for each in made.graph.input] == [forms.baseline.input.name]
    assert last.outputs == [output.name for output in forms.raw.outputs]
    swapped = any(name.startswith("swap") for name in names)
    assert bool(silu_pairs(made.graph.node, set(last.outputs)).products) is not swapped
    assert bool(trained_ranges(made)) is (names[-1] == "qat"), "other changes forget the ranges"
    costs = [mac_count(onnx.load(forms.cut)), *(macs_of(stage) for stage in stages)]
    for before, after, name in zip(costs, costs[1:], names, strict=False):
        if name.startswith("prune=0.3t"):
            assert after < before
        elif name.startswith("prune"):
            assert after <= before * (1 - float(name.partition("=")[2]))
        elif name.startswith("shrink"):
            assert after == pytest.approx(before / 4, rel=0.02)
        else:
            assert after == before
    scale = 2 if any(name.startswith("shrink") for name in names) else 1
    assert [shape[2:] for shape in answers_of(stages[-1])] == [
        (SIDE // scale // stride, SIDE // scale // stride) for stride in forms.raw.strides for _ in range(2)
    ]


def test_a_pruned_network_says_what_it_lost(recovery):
    stage = recovery(scale=0.1).run(parse_recipe("prune=0.3"))[0]

    assert stage.said["macs_after"] <= 0.7 * stage.said["macs_before"]
    assert stage.said["estimated_ms"][0] == 10.0
    assert stage.said["estimated_ms"][1] < 10.0
    assert all(0 < after <= before for before, after in stage.said["widths"])
    assert any(after < before for before, after in stage.said["widths"])


def test_widths_are_timed_once(recovery, clock):
    first = recovery(scale=0.1).run(parse_recipe("prune=0.3"))[0]
    asked = clock.asked
    assert asked > 0
    second = recovery(scale=0.1, seed=1).run(parse_recipe("prune=0.3"))[0]

    assert clock.asked == asked, "a second time the folder knows"
    assert second.said["estimated_ms"][0] == first.said["estimated_ms"][0]


def test_another_folder_decides_as_the_machine_once_measured(forms, dataset, clock, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    stages, asked = [], []
    for name, slower in (("one", 1.0), ("other", 7.0)):
        clock.milliseconds = 10.0 * slower
        material = Material(dataset, dataset.split("train"))
        stages += Recovery(forms, material, tmp_path / name, watch=Counted(), threads=1, scale=0.1).run(parse_recipe("prune=0.3t"))
        asked.append(clock.asked)

    assert asked[0] == asked[1] > 0
    assert stages[0].student.with_ranges() == stages[1].student.with_ranges()
    assert stages[0].said == stages[1].said


@pytest.mark.parametrize(
    "figures",
    [
        "",
        "[",
        "[]",
        '{"figures": [NaN]}',
        '{"figures": []}',
        '{"figures": [10.0, 1.0]}',
        '{"figures": "much"}',
        "negative",
        "huge",
        "endless",
    ],
)
def test_figures_that_cannot_be_read_are_measured_again(widths_timed, figures):
    studio, channels = widths_timed
    sound = [10.0, *[1e-6] * len(channels)]
    asked = []

    def measure():
        asked.append(1)
        return sound

    assert studio.measured_once("grid-costs", channels, len(sound), measure) == sound
    (path,) = studio.folder.glob("grid-costs-*.json")
    held = path.read_bytes()
    assert studio.measured_once("grid-costs", channels, len(sound), measure) == sound
    assert len(asked) == 1
    odd = {"negative": -1.0, "huge": 10**400, "endless": float("inf")}
    path.write_text(json.dumps({"figures": [*sound[:-1], odd[figures]]}) if figures in odd else figures)

    assert studio.measured_once("grid-costs", channels, len(sound), measure) == sound
    assert len(asked) == 2
    assert path.read_bytes() == held


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_ranges_that_were_trained_for_are_the_ones_that_are_quantized_with(recovery, forms, engine, tmp_path):
    if not is_installed(engine):
        pytest.skip(f"{engine} is not installed")
    found = recovery(scale=0.2, engine=engine)
    stage = found.run(parse_recipe("swap@0.5,qat"))[-1]
    written = onnx.load(stage.path)
    ranges = trained_ranges(written)
    cut = stage.student.cut(written)
    statistics = found.studio.statistics(stage.student)
    chosen = choose_ranges(cut, stage.student.head, statistics, INT8)

    assert len(ranges) == stage.said["activations"] > 0
    assert {name: chosen[name] for name in ranges} == ranges
    plain = choose_ranges(without_ranges(cut), stage.student.head, statistics, INT8)
    assert any(plain[name] != pytest.approx(ranges[name], rel=1e-4) for name in ranges), "and not what the rule says"
    assert all(low <= 0 <= high for low, high in ranges.values())
    if engine == "onnxruntime":
        quantize_static(cut, stage.student.head, statistics, INT8, scheme_for(Board.detect().isa), tmp_path / "int8.onnx")
        pairs = encodings_of(onnx.load(tmp_path / "int8.onnx"), stage.student.model).activations
        spans = {name: pairs[name].span(pairs[name].scale) for name in ranges}
        assert all(np.allclose(spans[name], ranges[name], atol=1e-4 * (ranges[name][1] - ranges[name][0])) for name in ranges)


def test_whoever_is_given_the_trained_network_finds_its_ranges(recovery, forms, tmp_path):
    stage = recovery(scale=0.2).run(parse_recipe("swap@0.5,qat"))[-1]
    artifact = stage.student.laid_down(forms.baseline, tmp_path / "student.onnx")
    (tmp_path / "again").mkdir()
    form = onnx.load(prepare_float_forms(admit_detector(artifact.model_path), tmp_path / "again").cut)
    found = trained_ranges(form)

    assert found == stage.student.ranges
    assert found.keys() <= {each.name for each in form.graph.input} | {name for node in form.graph.node for name in node.output}


def test_a_shrunk_network_is_laid_down_with_its_ranges_and_the_head_it_was_cut_at(recovery, forms, tmp_path):
    stage = recovery(scale=0.2).run(parse_recipe(f"shrink={SIDE // 2}@0.5,qat"))[-1]
    artifact = stage.student.laid_down(forms.baseline, tmp_path / "student.onnx")
    written = onnx.load(artifact.model_path)

    assert trained_ranges(written) == stage.student.ranges
    assert artifact.input.size_wh == (SIDE // 2, SIDE // 2)
    assert artifact.head == forms.raw
    assert [each.name for each in written.graph.output] == stage.student.outputs
    with Detector(artifact, open_engine("onnxruntime", artifact.model_path, threads=1)) as detector:
        detector(np.full((SIDE, SIDE, 3), 114, np.uint8))


def test_a_garbled_range_is_as_none(recovery, forms):
    student = recovery().student
    model = student.with_ranges()
    entry = model.metadata_props.add()
    entry.key, entry.value = RANGES_KEY, '{"images": [NaN, 1]}'
    statistics = recovery().studio.statistics(student)

    assert student.with_weights_of(model).ranges == {}
    assert choose_ranges(student.cut(model), student.head, statistics, INT8) == choose_ranges(student.cut(), student.head, statistics, INT8)


def without_ranges(model):
    made = onnx.ModelProto()
    made.CopyFrom(model)
    kept = [entry for entry in made.metadata_props if entry.key != RANGES_KEY]
    del made.metadata_props[:]
    made.metadata_props.extend(kept)
    return made


# --- what is learned again ---------------------------------------------------------------------------------------------------------------


def test_only_what_changed_is_learned_again(recovery):
    def begun(recipe, **options):
        watch = Counted()
        recovery(watch=watch, scale=0.1, **options).run(parse_recipe(recipe))
        return watch.begun

    assert begun("swap,qat") == ["swap", "qat"]
    assert begun("swap,qat") == []
    assert begun("swap,prune=0.3,qat") == ["prune=0.3", "qat"]
    assert begun("swap") == []
    assert begun("swap@3") == ["swap"], "for longer"
    assert begun("swap", seed=1) == ["swap"]
    assert begun("qat") == ["qat"], "of the given network"


def test_a_change_that_changes_nothing_is_left_out_and_said(recovery):
    watch = Counted()
    stages = recovery(watch=watch, scale=0.1).run(parse_recipe("swap,swap=hardswish,qat"))

    assert [stage.name for stage in stages] == watch.begun == ["swap", "qat"]
    assert "swap=hardswish is left out: the network has no SiLU" in watch.notes


def test_a_recipe_that_changes_nothing_is_refused(forms, recovery, tmp_path):
    swapped = swap_activations(onnx.load(forms.baseline.model_path)).model
    onnx.save(swapped, tmp_path / "relu.onnx")
    (tmp_path / "forms").mkdir()
    relu = prepare_float_forms(admit_detector(tmp_path / "relu.onnx"), tmp_path / "forms")

    with pytest.raises(InputError, match="nothing in this network is changed by swap"):
        recovery(forms=relu).run(parse_recipe("swap"))


def test_a_recalled_stage_is_what_it_was(recovery):
    first = recovery(scale=0.1).run(parse_recipe(f"shrink={SIDE // 2}@1,qat@1"))
    again = recovery(scale=0.1).run(parse_recipe(f"shrink={SIDE // 2}@1,qat@1"))

    for one, other in zip(first, again, strict=True):
        assert one.student.with_ranges() == other.student.with_ranges()
        assert (one.student.input, one.student.ranges) == (other.student.input, other.student.ranges)
        assert json.dumps(one.to_json()) == json.dumps(replace(other, seconds=one.seconds).to_json())


def test_an_exception_in_a_look_loses_no_step(recovery, monkeypatch):
    whole = recovery(scale=0.5).run(parse_recipe("swap"))[-1].student.with_ranges()
    looks = []
    look = Recovery._look

    def failing(self, *arguments):
        looks.append(1)
        if len(looks) == 2:
            raise OSError("no power")
        look(self, *arguments)

    monkeypatch.setattr(Recovery, "_look", failing)
    other = recovery(scale=0.5)
    other._identity = "elsewhere"
    with pytest.raises(OSError, match="no power"):
        other.run(parse_recipe("swap"))
    watch = Counted()
    again = recovery(scale=0.5, watch=watch)
    again._identity = "elsewhere"
    ended = again.run(parse_recipe("swap"))[-1].student.with_ranges()

    assert any("going on from step" in note for note in watch.notes)
    assert ended == whole


# --- when it is enough -------------------------------------------------------------------------------------------------------------------


def test_the_last_of_the_best_looks_is_kept():
    checks = [Check(1, 0.5), Check(2, 0.9), Check(3, 0.9 - WORSE / 2), Check(4, 0.9 - 2 * WORSE)]
    assert best_of(checks).step == 3


def test_an_exercise_is_over_when_so_many_looks_brought_nothing():
    curve = Curve([Check(1, 0.9)])
    assert not curve.is_over
    for step in range(PATIENCE):
        assert not curve.is_over
        curve.checks.append(Check(2 + step, 0.5))
    assert curve.is_over


def test_a_curve_is_read_as_it_was_written_and_garbage_is_none(tmp_path):
    curve = Curve([Check(4, 0.5), Check(8, 0.75, 0.5, 0.25)], 1.5)
    curve.write(tmp_path / "curve.json")
    assert Curve.read(tmp_path / "curve.json") == curve
    for garbage in (b"", b"[]", b'{"checks": [{"step": 1e999}]}', b'{"checks": [], "seconds": "long"}', b"[" * 100_000):
        (tmp_path / "curve.json").write_bytes(garbage)
        assert Curve.read(tmp_path / "curve.json") == Curve()
    (tmp_path / "curve.json").write_text(
        json.dumps({"checks": [{"step": 1, "agreement": 2, "map50": None, "map50_95": None}], "seconds": 0})
    )
    assert Curve.read(tmp_path / "curve.json") == Curve()
    assert Curve.read(tmp_path / "nothing.json") == Curve()


def test_an_exercise_that_brings_nothing_ends_early_with_its_best_student(recovery, monkeypatch):
    agreements = iter([0.3, 0.8, 0.5, 0.5, 0.5, 0.5])
    kept = []

    def checked(self, student, step, path):
        kept.append(student.with_ranges())
        return Check(step, next(agreements))

    monkeypatch.setattr(Recovery, "_checked", checked)
    stage = recovery(scale=1.0).run([SwapActivation(epochs=6)])[0]

    assert [check.agreement for check in stage.checks] == [0.3, 0.8, 0.5, 0.5, 0.5]
    assert stage.steps == stage.checks[-1].step < 6 * 6
    assert stage.agreement == 0.8
    assert stage.student.with_ranges() == kept[1] != kept[-1]


def test_an_exercise_that_had_ended_early_when_it_was_killed_keeps_the_same_student(recovery, monkeypatch):
    agreements = {6: 0.3, 12: 0.8, 18: 0.5, 24: 0.5, 30: 0.5}
    monkeypatch.setattr(Recovery, "_checked", lambda _self, _student, step, _path: Check(step, agreements[step]))
    whole = recovery().run([SwapActivation(epochs=36 * 4 / 26)])[0]
    with monkeypatch.context() as patch:
        patch.setattr(recover, "Stage", None)  # so it dies when its student is written and its facts are not
        with pytest.raises(TypeError):
            recovery(seed=0, scale=1.0000001).run([SwapActivation(epochs=36 * 4 / 26)])
    watch = Counted()
    again = recovery(watch=watch, scale=1.0000001).run([SwapActivation(epochs=36 * 4 / 26)])[0]

    assert [check.agreement for check in whole.checks] == list(agreements.values())
    assert watch.notes == ["swap: going on from step 30 of 36"], "and nothing is looked at again"
    assert again.student.with_ranges() == whole.student.with_ranges()
    assert again.checks == whole.checks


# --- what it refuses ---------------------------------------------------------------------------------------------------------------------


def test_too_few_frames_are_refused(recovery, dataset):
    with pytest.raises(InputError, match="too few frames to learn from") as refusal:
        recovery(frames=dataset.split("train")[:31])
    assert refusal.value.got == "31"


def test_held_out_frames_are_not_learned_from_and_depend_on_the_seed(recovery, dataset):
    first, again, other = recovery(), recovery(), recovery(seed=1)
    everything = {sample.image for sample in dataset.split("train")}

    assert len(first.held_out) == 8
    assert {*first.studio.paths} | {sample.image for sample in first.held_out} == everything
    assert not {*first.studio.paths} & {sample.image for sample in first.held_out}
    assert first.held_out == again.held_out != other.held_out


def test_a_network_whose_decode_is_not_understood_cannot_be_taught(recovery, forms):
    with pytest.raises(ModelError, match="the decode behind its head was not understood"):
        recovery(forms=replace(forms, raw=None))


@pytest.mark.parametrize("width", [SIDE, SIDE + 32, SIDE // 2 + 1, 16])
def test_a_size_that_is_not_smaller_or_that_no_grid_divides_is_refused(recovery, width):
    with pytest.raises(InputError, match=f"the model cannot be shrunk to {width}"):
        recovery(scale=0.1).run(parse_recipe(f"shrink={width}"))
