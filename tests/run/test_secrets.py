"""Nothing secret is printed, however odd the address that holds it."""

import copy
import time
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.run.secrets import HIDDEN, Address, Secret, hide_credentials, hide_in_address


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:pass@host/stream", "rtsp://***@host/stream"),
        ("rtsp://user:p@ss:w@host/", "rtsp://***@host/"),
        ("rtsp://user:p/ss@host/", "rtsp://***@host/"),
        ("rtsp://user:12/34?a#b@host/", "rtsp://***@host/"),
        ("rtsp://us%40er:p%2Fss@[fe80::1%25eth0]:554/a?b=c", "rtsp://***@[fe80::1%25eth0]:554/a?b=c"),
        ("RTSPS://:pass@host", "RTSPS://***@host"),
        ("http://token@host/", "http://***@host/"),
        ("rtsp:/user:pass@host/", "rtsp:/***@host/"),
        ("http:///user:pass@host/", "http:///***@host/"),
        ("http://10.0.0.9/cgi?user=admin&pwd=hunter2&channel=1", "http://10.0.0.9/cgi?user=***&pwd=***&channel=1"),
        ("http://cam/?loginuse=me&loginpas=hunter2;x", "http://cam/?loginuse=***&loginpas=***"),
        ("https://hook/x#access_token=abc.def", "https://hook/x#access_token=***"),
        ("https://hook/x?X-Amz-Signature=abc&PASSWORD=%70", "https://hook/x?X-Amz-Signature=***&PASSWORD=***"),
        (
            "[rtsp @ 0x55d] could not open rtsp://a:b@c/d: 401, nor http://e:f@g",
            "[rtsp @ 0x55d] could not open rtsp://***@c/d: 401, nor http://***@g",
        ),
        ("rtsp://user:pass\u00a0word\u2028x@host/", "rtsp://***@host/"),
        ("rtsp://host:554/stream", "rtsp://host:554/stream"),
        ("/data/line@3/a.mp4", "/data/line@3/a.mp4"),
        ("0", "0"),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_line(text, shown):
    assert hide_credentials(text) == str(Address(text)) == repr(Address(text)) == shown
    assert Address(text).reveal() == text


@pytest.mark.parametrize(
    "text", ["rtsp//user:pass@host", "user:pass@host/x", "rtsp ://user:pass@host/", "@@pass@", "rtsp:\\\\user:pass@host", "//u:pass@"]
)
def test_of_the_slip_of_an_address_nothing_before_the_last_at_is_shown(text):
    assert "pass" not in hide_in_address(text)


def test_what_came_from_elsewhere_is_shown_as_it_was_written():
    address = Address("https://hooks.example/T0/B0/xyzzy", "https://hooks.example/${HOOK}")
    assert (str(address), address.reveal(), address.scheme) == (
        "https://hooks.example/${HOOK}",
        "https://hooks.example/T0/B0/xyzzy",
        "https",
    )
    assert f"{Address('rtsp://u:xyzzy@cam/', 'rtsp://u:${PW}@cam/')}" == "rtsp://***@cam/"


@pytest.mark.parametrize(
    ("text", "scheme"), [("RTSP://h/", "rtsp"), ("https://h", "https"), ("0", ""), ("csi:0", ""), ("/dev/video0", ""), ("C:/x", "")]
)
def test_the_scheme_of_an_address(text, scheme):
    assert Address(text).scheme == scheme


def test_secrets_print_as_stars_wherever_they_are():
    @dataclass
    class Holder:
        password: Secret
        url: Address

    holder = Holder(Secret("hunter2"), Address("http://u:hunter2@h/"))
    said = f"{holder} {holder!r} {holder.password} {holder.password!s:>5} {[holder.password]} {holder.url!r} %s" % holder.password
    assert "hunter2" not in said
    assert HIDDEN in said
    assert "hunter2" not in str(ValueError(holder))
    assert copy.deepcopy(holder.password).reveal() == "hunter2"  # as when it is handed to a process of ours
    assert Secret("a") == Secret("a") != Secret("b")


# --- any password -----------------------------------------------------------------------------------------------------------------------

MARK = "Ωx"  # tells the password from the rest, whatever is cut off it
hosts = st.sampled_from(["cam", "10.0.0.9:554", "[fe80::1]:8554", "a-b.example"])
users = st.sampled_from(["", "admin", "a%40b", "me@work"])
paths = st.sampled_from(["", "/", "/stream?x=1", "/a/b#c"])
printables = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"], exclude_characters="Ωx"), max_size=12)


def marked(password):
    return "".join(f"{MARK}{character}" for character in password) + MARK


@given(
    st.sampled_from(["rtsp", "rtsps", "http", "HTTPS", "x+y-z.1"]), users, printables, hosts, paths, st.sampled_from(["", "opening ", "'"])
)
def test_no_part_of_a_password_remains(scheme, user, password, host, path, before):
    """Written as it is, with whatever of / ? # @ : & = it has."""
    shown = hide_credentials(f"{before}{scheme}://{user}:{marked(password)}@{host}{path}")
    assert "Ω" not in shown
    assert "x" not in shown.replace("x+y", "").replace("x=1", "").replace("example", "")
    assert shown == f"{before}{scheme}://{HIDDEN}@{host}{path}"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), hosts, paths)
def test_nor_of_one_that_is_percent_encoded(password, host, path):
    assert hide_credentials(f"rtsp://admin:{quote(password, safe='')}@{host}{path}") == f"rtsp://{HIDDEN}@{host}{path}"


@given(
    st.sampled_from(["password", "pwd", "PASS", "loginpas", "pw", "token", "api_key", "client_secret", "sig", "auth", "access-token"]),
    st.text(min_size=1, max_size=12).filter(lambda text: text.encode("utf-8", "replace").decode() == text),
    st.sampled_from(["", "&width=640", "#top"]),
    st.sampled_from(["?", "?channel=1&", "?a=b;"]),
)
def test_nor_of_one_in_a_query(key, value, after, before):
    shown = hide_credentials(f"http://cam/video{before}{key}={quote(value, safe='')}{after}")
    assert shown == f"http://cam/video{before}{key}={HIDDEN}{after}"


@given(st.text(max_size=60))
def test_hiding_twice_hides_no_more_and_any_text_can_be_shown(text):
    once = hide_credentials(text)
    assert hide_credentials(once) == once
    assert hide_in_address(hide_in_address(text)) == hide_in_address(text)


@pytest.mark.parametrize(
    "text", ["a" * 10**6, "a:/" * 10**5, "a:/" * 10**5 + "@", "?pw" * 10**5, "?" + "pw" * 10**5, "&a=" * 10**5, "@" * 10**6]
)
def test_a_long_line_takes_no_time(text):
    began = time.process_time()
    hide_in_address(text)
    assert time.process_time() - began < 1
