"""What `edgewright fit` prints when it is done: the candidates, what was timed and not judged, and where the winner computes."""

from pathlib import Path

import pytest

from bench.fit_evidence import FOUND, long_evidence, measurement, overtaken, searched_evidence, whole_evidence
from edgewright.cli.fit import FEW_LEFT_BEHIND, show
from edgewright.cli.screen import Screen

COLUMNS = 100


@pytest.fixture
def shown(capsys, monkeypatch):
    """The lines that a document makes on a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))

    def lines(document):
        show(document, Path("fitted"), Screen(quiet=False, stderr=False))
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return lines


@pytest.mark.parametrize("count", [1, FEW_LEFT_BEHIND])
def test_a_few_left_behind_have_a_sentence_each(shown, count):
    lines = shown(searched_evidence(overtaken=overtaken()[:count]))

    assert "int8 dynamic: 31.6 ms, not judged: openvino float32 computes at least as exactly and ran 2.07x as fast" in lines
    assert sum("not judged" in line for line in lines) == count


def test_many_left_behind_make_a_table_the_fastest_first(shown):
    lines = shown(searched_evidence())

    start = lines.index("8 timed and not judged: something faster computes at least as exactly")
    assert lines[start + 1].split() == ["point", "p50", "ms", "speed", "faster"]
    rows = lines[start + 3 : start + 3 + len(overtaken())]
    assert [" ".join(row.split()) for row in rows[:2]] == [
        "openvino int8, 640x384 5.93 4.29x openvino int8, float stem, 640x384",
        "mnn float32, 640x384 16.4 1.55x openvino float32, 640x384",
    ]
    assert "ncnn float32" in rows[-1]


def test_says_nothing_of_what_was_not_left_behind(shown):
    for document in (searched_evidence(overtaken=[]), whole_evidence()):
        assert not any("not judged" in line for line in shown(document))


@pytest.mark.parametrize("document", [searched_evidence(), long_evidence(20, 15)], ids=["searched", "long"])
def test_its_tables_stay_within_a_hundred_columns(shown, document):
    lines = shown(document)
    last = next(at for at, line in enumerate(lines) if line.startswith("mAP50-95   "))

    assert max(map(len, lines[:last])) <= COLUMNS
    assert all(f"{each['p50_ms']:.2f}" in "".join(lines) or f"{each['p50_ms']:.1f}" in "".join(lines) for each in document["overtaken"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([measurement("baseline", 2, 25.4, computes_in="float32"), measurement(FOUND, 2, 8.0, computes_in="int8")], "openvino in int8"),
        ([measurement(FOUND, 2, 8.0, computes_in="bfloat16")], "openvino in bfloat16 (asked for int8)"),
        ([measurement(FOUND, 2, 8.0)], "openvino in int8"),
        ([], "openvino in int8"),
    ],
    ids=["as asked", "otherwise", "an engine that does not say", "nothing measured"],
)
def test_says_where_and_in_what_the_winner_computes(shown, rows, said):
    assert f"engine     onnxruntime in float32 -> {said}" in shown(searched_evidence(measurements=rows))
