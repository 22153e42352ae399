"""`edgewright recover` and `edgewright fit --recover`: what they say for themselves, and what they refuse before anything is learned."""

import importlib.util

import pytest

from edgewright.learn import extra
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

NEEDS_TORCH = "what learns needs PyTorch: pip install 'edgewright[learn]'"


@pytest.fixture
def _learns():
    pytest.importorskip("torch", reason=NEEDS_TORCH)
    pytest.importorskip("safetensors", reason=NEEDS_TORCH)


@pytest.fixture(scope="module")
def enough_data(tmp_path_factory):
    """Frames enough to begin with."""
    return write_tiny_dataset(tmp_path_factory.mktemp("enough"), train=40, val=4)


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "torch" else importlib.util.find_spec(name))


def nothing_left(out):
    """Nothing of a result; a working folder may be."""
    return not out.exists() or not [path for path in out.iterdir() if not path.name.startswith(".")]


def test_help_names_the_changes_and_has_an_example(edgewright):
    ran = edgewright("recover", "--help")

    assert ran.exit_code == 0
    assert "edgewright recover " in ran.out.split("Example", 1)[1]
    options = ("--data", "--out", "--recipe", "--teacher", "--engine", "--labels", "--effort", "--seed", "--resume", "--json", "--quiet")
    assert [option for option in options if option not in ran.out] == []
    assert [change for change in ("swap", "hardswish", "prune=0.4", "prune=0.4t", "qat") if change not in ran.out] == []


def test_help_of_fit_has_what_it_may_change(edgewright):
    ran = edgewright("fit", "--help")

    assert [option for option in ("--recover", "--recipe", "--effort") if option not in ran.out] == []


def test_the_list_of_verbs_has_it(edgewright):
    assert "recover" in edgewright("--help").out


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("words", [("recover",), ("fit", "--engines", "onnxruntime", "--recover")], ids=" ".join)
def test_without_pytorch_it_is_exit_3_and_says_what_to_install(edgewright, tiny_model, tiny_data, tmp_path, words):
    verb, *options = words
    ran = edgewright(verb, tiny_model, "--data", tiny_data, "--out", tmp_path / "out", "--quiet", *options)

    ran.assert_refused(3, "training needs the package torch, which is not installed", "pip install 'edgewright[learn]'")
    assert nothing_left(tmp_path / "out")


@pytest.mark.usefixtures("_learns")
@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("distil", "a change that does not exist: distil; expected changes separated by commas: swap"),
        ("swap,prune=40", "cannot be read at prune=40; got 40, which is not between 0.01 and 0.95"),
        ("qat=4", "qat takes no value"),
        (",", "--recipe names no changes"),
    ],
)
def test_a_change_that_does_not_exist_is_refused_by_its_name(edgewright, tiny_model, tiny_data, tmp_path, recipe, said):
    ran = edgewright("recover", tiny_model, "--data", tiny_data, "--out", tmp_path / "out", "--quiet", "--recipe", recipe)

    ran.assert_refused(2, said)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_learns")
@pytest.mark.parametrize("option", ["MODEL", "--teacher"])
def test_a_wrong_model_is_refused_by_what_it_is(edgewright, tiny_model, enough_data, tmp_path, option):
    (tmp_path / "words.onnx").write_text("words")
    models = (tmp_path / "words.onnx",) if option == "MODEL" else (tiny_model, option, tmp_path / "words.onnx")
    ran = edgewright("recover", *models, "--data", enough_data, "--out", tmp_path / "out", "--quiet")

    ran.assert_refused(2, "is not an ONNX model")
    assert nothing_left(tmp_path / "out")


def test_json_that_cannot_be_written_is_refused_before_the_work(edgewright, tiny_model, tiny_data, tmp_path):
    ran = edgewright("recover", tiny_model, "--data", tiny_data, "--out", tmp_path / "out", "--quiet", "--json", tmp_path)

    ran.assert_refused(2, "--json", "cannot be written")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_learns")
def test_labels_that_are_not_there_cannot_be_learned_from(edgewright, tiny_model, tiny_data, tmp_path):
    pictures = tiny_data.parent / "images"
    ran = edgewright("recover", tiny_model, "--data", pictures, "--out", tmp_path / "out", "--quiet", "--labels")

    ran.assert_refused(2, "--labels has no labels to learn from", "pictures alone", "leave it out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_learns")
def test_too_few_frames_are_refused_with_how_many_it_takes(edgewright, tiny_model, tiny_data, tmp_path):
    ran = edgewright("recover", tiny_model, "--data", tiny_data, "--out", tmp_path / "out", "--quiet")

    ran.assert_refused(2, "too few frames to learn from; got 6; expected at least 32")
    assert nothing_left(tmp_path / "out")


@pytest.mark.usefixtures("_learns")
@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ({"classes": ("red", "green", "violet")}, "the teacher tells other classes apart than the model; got red, green, violet"),
        ({"classes": ("red", "green")}, "the model and the data set have different classes; got 2 in the model"),
        ({"classes": ("green", "red", "blue")}, "a teacher of the same classes in the same order"),
        ({"family": "yolov5"}, "the teacher's head is not like the model's; got yolov5 at 64x64; expected yolov8 at 64x64"),
        ({"size": 96}, "the teacher's head is not like the model's; got yolov8 at 96x96"),
    ],
    ids=["a class of another name", "fewer classes", "another order", "another head", "another size"],
)
def test_a_teacher_of_another_kind_is_refused(edgewright, tiny_model, enough_data, tmp_path, teacher, said):
    other = save_tiny_detector(tmp_path / "teacher.onnx", activation="relu", **teacher)
    ran = edgewright("recover", tiny_model, "--data", enough_data, "--out", tmp_path / "out", "--quiet", "--teacher", other)

    ran.assert_refused(2, said)
    assert nothing_left(tmp_path / "out")


@pytest.mark.usefixtures("_learns")
def test_an_engine_that_does_not_exist_is_refused(edgewright, tiny_model, tiny_data, tmp_path):
    ran = edgewright("recover", tiny_model, "--data", tiny_data, "--out", tmp_path / "out", "--quiet", "--engine", "warp")

    ran.assert_refused(2, "there is no engine 'warp'")


@pytest.mark.usefixtures("_learns")
def test_a_folder_of_somebody_else_s_is_left_alone(edgewright, tiny_model, tiny_data, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years of work")
    ran = edgewright("recover", tiny_model, "--data", tiny_data, "--out", tmp_path / "out", "--quiet")

    assert (ran.exit_code, ran.out) == (2, "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("options", [("--effort", "0"), ("--effort", "much"), ("--seed", "-1"), ("--threads", "-1")], ids=" ".join)
def test_a_figure_out_of_bounds_is_a_mistyped_command(edgewright, tiny_model, tiny_data, tmp_path, options):
    edgewright("recover", tiny_model, "--data", tiny_data, "--out", tmp_path / "out", *options).assert_refused(2, options[0])


def test_a_recipe_without_recover_is_refused(edgewright, tiny_model, tiny_data, tmp_path):
    ran = edgewright("fit", tiny_model, "--data", tiny_data, "--out", tmp_path / "out", "--quiet", "--recipe", "swap")

    ran.assert_refused(2, "--recipe says what --recover changes", "no --recover")
    assert not (tmp_path / "out").exists()
