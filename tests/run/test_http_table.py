"""The table [http] of a service.toml: what it may hold, and the line of what it may not."""

from pathlib import Path

import pytest

from edgewright.errors import InputError
from edgewright.run.front_settings import FrontSettings, is_this_machine
from edgewright.run.secrets import Secret
from edgewright.run.service_file import read_service
from tiny_detector import save_tiny_detector

TOKEN = "0123456789abcdef"
CAMERA = '[[camera]]\nname = "belt"\nsource = 0\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    save_tiny_detector(folder / "tiny.onnx")
    for name, text in (("token", TOKEN), ("short", "short"), ("server.pem", "")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return folder


def read(folder, http, rest=CAMERA, **environment):
    path = folder / "service.toml"
    path.write_text(f'[[model]]\nname = "tiny"\nartifact = "tiny.onnx"\n[http]\n{http}\n{rest}')
    return read_service(path, environment)


def test_an_empty_table_listens_on_this_machine_alone_and_no_table_nowhere(folder):
    assert read(folder, "").http == FrontSettings("127.0.0.1", 8000)
    path = folder / "service.toml"
    path.write_text(f'[[model]]\nname = "tiny"\nartifact = "tiny.onnx"\n{CAMERA}')
    assert read_service(path, {}).http is None


def test_every_key_arrives(folder):
    found = read(
        folder,
        'host = "0.0.0.0"\nport = 8443\ntoken_file = "token"\ncertificate = "server.pem"\nkey = "server.pem"\n'
        'names = ["line-3.local"]\nload = false\nrate = 20\nbody = "8 MiB"\ntogether = 1\nconnections = 64',
    ).http
    limits = {"load": False, "rate_per_s": 20.0, "most_body_bytes": 8 << 20, "most_together": 1, "most_connections": 64}
    pem = folder / "server.pem"
    assert found == FrontSettings("0.0.0.0", 8443, Secret(TOKEN), pem, pem, ("line-3.local",), **limits)


def test_a_token_comes_from_the_environment_and_one_in_the_file_gets_a_warning(folder):
    found = read(folder, 'token = "${HTTP}"', HTTP=TOKEN)
    assert (found.http.token.reveal(), [each for each in found.warnings if "token" in each]) == (TOKEN, [])
    found = read(folder, f'token = "{TOKEN}"')
    assert any("line 5: http: token: it stands in the file" in each for each in found.warnings)
    assert TOKEN not in repr(found)


@pytest.mark.parametrize(
    ("http", "says"),
    [
        ("port = 70000", "line 5: http: port = 70000; expected a whole number from 0 to 65,535"),
        ("prot = 8000", "line 5: http: prot is no key of [http]; did you mean port?"),
        ('host = "0.0.0.0"', "line 5: http: host = 0.0.0.0 is open to others, and there is no token; add token or token_file"),
        ('host = "http://x/"', 'line 5: http: host = "http://x/"; expected the name or address of this machine'),
        ('port = 1\ntoken = "short"', "line 6: http: token is too short a token; expected at least 16 characters"),
        ('token_file = "short"', "line 5: http: token_file is too short a token"),
        (f'token = "{TOKEN}"\ntoken_file = "token"', "line 6: http: token_file stands beside token; expected one of the two"),
        ('token = "${MISSING}"', "line 5: http: token takes ${MISSING}, which is not set"),
        ('key = "server.pem"', "line 5: http: key stands without a certificate; add certificate"),
        ('certificate = "none.pem"', 'line 5: http: certificate = "none.pem"; expected a PEM file that is there'),
        ("load = 1", "line 5: http: load = 1; expected true or false"),
        ("rate = 0", "line 5: http: rate = 0; expected a number above 0"),
        ("names = []", "line 5: http: names = []; expected a list of 1 to 16 names of this machine"),
        ('body = "1 KiB"', 'line 5: http: body = "1 KiB"; expected a size from 64 KiB to 1 GiB'),
        ("together = 0", "line 5: http: together = 0; expected a whole number from 1 to 8"),
        ("connections = 2", "line 5: http: connections = 2; expected a whole number from 8 to 4,096"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_no_secret(folder, http, says):
    with pytest.raises(InputError) as caught:
        read(folder, http)
    assert str(caught.value).removeprefix(f"{folder}/service.toml, ").startswith(says)
    assert '"short"' not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_without_cameras_it_is_a_server_of_models_and_without_http_nothing(folder):
    found = read(folder, "", "")
    assert (found.cameras, found.warnings) == ((), ())
    assert any("there is no [[camera]]" in each for each in read(folder, "", '[[output]]\nname = "o"\nkind = "jsonl"\n').warnings)
    path = folder / "service.toml"
    path.write_text('[[model]]\nname = "tiny"\nartifact = "tiny.onnx"\n')
    with pytest.raises(InputError, match="has no camera"):
        read_service(path, {})


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("line-3", False)],
)
def test_which_addresses_only_this_machine_reaches(host, own):
    assert is_this_machine(host) is own


def test_the_folder_of_the_file_is_where_its_paths_begin(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert read(folder, 'certificate = "server.pem"').http.certificate == Path(folder) / "server.pem"
