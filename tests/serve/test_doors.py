"""Where a server listens: one sentence where it cannot, and nobody else at the door in the folder."""

import socket
import stat

import pytest

from edgewright.errors import HostError
from edgewright.serve.doors import SOCKET, Doors, listen_at, listen_in, short_path


def test_a_port_in_use_is_one_sentence_and_exit_3():
    (taken,) = listen_at("127.0.0.1", 0)
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(HostError, match=rf"cannot listen at 127\.0\.0\.1:{port}; got address already in use") as caught:
            listen_at("127.0.0.1", port)
    assert caught.value.exit_code == 3
    for each in listen_at("127.0.0.1", port):
        each.close()  # it is free as soon as it is let go


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a" * 70, "\udcff"])
def test_an_address_that_is_not_this_machine_s_is_one_sentence(host):
    with pytest.raises(HostError, match="cannot listen at"):
        listen_at(host, 0)


def test_a_name_of_several_addresses_has_one_port():
    doors = Doors(listen_at("localhost", 0))
    assert {each.getsockname()[1] for each in doors.tcp} == {doors.port}
    doors.close()
    assert doors.all == ()


def test_the_socket_in_a_folder_is_its_owner_s_alone_whatever_the_folder_is_called(tmp_path):
    folder = tmp_path / ("long" * 40) / ("longer" * 30)  # an address of a socket has 107 bytes
    folder.mkdir(parents=True)
    (folder / SOCKET).write_text("left by somebody")
    doors = Doors()
    doors.own, doors.own_path = listen_in(folder)
    assert stat.S_IMODE((folder / SOCKET).stat().st_mode) == 0o600
    with short_path(folder / SOCKET) as path, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    doors.close()
    assert list(folder.iterdir()) == []


def test_what_cannot_be_replaced_is_an_error_of_the_system_s(tmp_path):
    (tmp_path / SOCKET).mkdir()
    with pytest.raises(OSError):
        listen_in(tmp_path)
