"""--http and what goes with it: over the file, never with the token where others see it."""

from pathlib import Path

import pytest

from edgewright.cli.http_options import TOKEN_VARIABLE, HttpOptions, front_settings
from edgewright.errors import InputError
from edgewright.run.front_settings import FrontSettings
from edgewright.run.secrets import Secret

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("at", "host", "port"),
    [("8000", "127.0.0.1", 8000), ("localhost:0", "localhost", 0), ("[::1]:80", "::1", 80), ("127.0.0.2:1", "127.0.0.2", 1)],
)
def test_a_port_or_an_address_and_a_port(at, host, port):
    assert front_settings(HttpOptions(at), None, {}) == FrontSettings(host, port)


@pytest.mark.parametrize(
    "at", ["", "x", ":8000", "host:", "1.2.3.4:70000", "a b:1", "8000:x", "-1", "\N{SUPERSCRIPT TWO}", "http://x:1", "9" * 400]
)
def test_anything_else_is_refused_in_a_sentence(at):
    with pytest.raises(InputError, match="expected a port, or an address and a port"):
        front_settings(HttpOptions(at), None, {})


def test_nothing_listens_unasked(tmp_path):
    assert front_settings(HttpOptions(), None, {TOKEN_VARIABLE: TOKEN}) is None
    with pytest.raises(InputError, match="add --http"):
        front_settings(HttpOptions(token_file=tmp_path / "t"), None, {})


def test_options_stand_above_the_file():
    before = FrontSettings("0.0.0.0", 8000, Secret(TOKEN), names=("line",), load=False)
    assert front_settings(HttpOptions(), before, {}) is before
    found = front_settings(HttpOptions("9000", certificate=Path("a.pem")), before, {TOKEN_VARIABLE: TOKEN * 2})
    assert (found.host, found.port, found.token.reveal(), found.names, found.load) == ("127.0.0.1", 9000, TOKEN * 2, ("line",), False)
    assert found.certificate == Path("a.pem")


def test_the_token_comes_from_a_file_or_a_variable_which_no_child_inherits(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\nmore")
    path.chmod(0o600)
    environment = {TOKEN_VARIABLE: "another-token-of-enough"}
    assert front_settings(HttpOptions("0.0.0.0:1", token_file=path), None, environment).token.reveal() == TOKEN
    assert environment == {}
    environment = {TOKEN_VARIABLE: TOKEN}
    assert front_settings(HttpOptions("0.0.0.0:1"), None, environment).token.reveal() == TOKEN
    assert environment == {}


@pytest.mark.parametrize(
    ("options", "environment", "says"),
    [
        (HttpOptions("0.0.0.0:1"), {}, "--http 0.0.0.0:1 is open to others; expected a token"),
        (HttpOptions("1"), {TOKEN_VARIABLE: "hunter2"}, "the token for HTTP is too short; expected at least 16"),
        (HttpOptions("1"), {TOKEN_VARIABLE: ""}, f"{TOKEN_VARIABLE} takes ${{{TOKEN_VARIABLE}}}, which is empty"),
        (HttpOptions("1", token_file=Path("no/such")), {}, "--http-token-file names"),
        (HttpOptions("1", key=Path("k.pem")), {}, "--http-key without --http-certificate"),
    ],
)
def test_what_does_not_go_together_is_said_and_no_secret(options, environment, says):
    with pytest.raises(InputError) as caught:
        front_settings(options, None, environment)
    assert str(caught.value).startswith(says)
    assert "hunter2" not in str(caught.value)


def test_a_token_that_everybody_may_read_is_refused(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        front_settings(HttpOptions("1", token_file=path), None, {})
