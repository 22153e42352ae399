"""Every error names whose move is next, carries its exit code, and says got, expected and the way out."""

import inspect

import pytest

from edgewright import errors
from edgewright.errors import ArtifactError, DataError, EdgewrightError, EngineError, HostError, InputError, Interrupted, ModelError

CLASSES = [found for _, found in inspect.getmembers(errors, inspect.isclass) if found.__module__ == errors.__name__]


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_the_tree_in_the_docstring_names_every_class(error):
    assert error.__name__ in errors.__doc__
    assert issubclass(error, EdgewrightError)
    assert error.__doc__


@pytest.mark.parametrize(
    ("error", "exit_code", "http_status"),
    [
        (InputError, 2, 400),
        (ModelError, 2, 400),
        (DataError, 2, 400),
        (ArtifactError, 2, 400),
        (HostError, 3, 503),
        (EngineError, 3, 503),
        (Interrupted, 130, 499),
    ],
)
def test_exit_codes_are_the_contract_s(error, exit_code, http_status):
    assert (error("x").exit_code, error("x").http_status) == (exit_code, http_status)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, "it is wrong"),
        ({"got": "3 cats"}, "it is wrong; got 3 cats"),
        ({"expected": "a dog"}, "it is wrong; expected a dog"),
        ({"fix": "buy one"}, "it is wrong; buy one"),
        ({"got": "3 cats", "expected": "a dog", "fix": "buy one"}, "it is wrong; got 3 cats; expected a dog; buy one"),
    ],
)
def test_a_message_says_got_expected_and_the_way_out(parts, said):
    error = EdgewrightError("it is wrong", **parts)
    assert str(error) == said
    assert (error.what, error.got, error.expected, error.fix) == ("it is wrong", *(parts.get(key) for key in ("got", "expected", "fix")))
