"""MQTT against a real mosquitto: acknowledged is delivered, whoever goes is said to be offline, Home Assistant is told of everything."""

import contextlib
import json
import socket
import threading

import pytest

pytest.importorskip("paho.mqtt.client", reason="pip install 'edgewright[mqtt]'")

from broker import Listener, broker_in
from edgewright.errors import HostError
from edgewright.run.letter import letter_of
from edgewright.run.records import Event
from edgewright.run.secrets import Secret
from edgewright.run.settings import MqttOutput
from edgewright.run.sinks import UndeliveredError, open_sink, place_for
from edgewright.run.sinks import mqtt as mqtt_module
from edgewright.run.sinks.topics import Topics, discovery
from edgewright.testing.sinks import check_sink, some_letters
from tiny_answer import an_answer
from turned_clock import TurnedClock


@pytest.fixture
def broker(tmp_path):
    broker = broker_in(tmp_path).start()
    yield broker
    broker.kill()


@pytest.fixture
def listener(broker):
    listener = Listener(broker.port)
    yield listener
    listener.close()


@pytest.fixture
def sink_for(broker, tmp_path):
    sinks = []

    def make(**more):
        place = place_for(tmp_path, service="site", cameras=("door", "yard"), clock=TurnedClock())
        sinks.append(open_sink(broker.output(**more), place))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def test_it_keeps_what_a_sink_promises(sink_for, listener, broker):
    def received():
        threading.Event().wait(0.3)  # what was acknowledged is on its way to the listener
        return [json.loads(payload)["id"] for payload in listener.on("edgewright/site/door/events")]

    report = check_sink(sink_for, received, break_it=broker.kill)
    assert report.broken == ()


def test_records_have_topics_by_camera_and_kind(sink_for, listener):
    answer, event = letter_of(an_answer()), some_letters(1)[0]
    nobodys = letter_of(Event("e9", 0.0, "service", "s", "t"))
    sink_for(discovery_prefix=None).deliver([answer, event, nobodys])
    listener.wait_for(lambda messages: len(messages) >= 5)
    assert listener.on("edgewright/site/door/answers") == [answer.body]
    assert listener.on("edgewright/site/door/events") == listener.on("edgewright/site/door/last_event") == [event.body]
    assert listener.on("edgewright/site/events") == [nobodys.body]
    assert listener.on("edgewright/site/status") == [b"online"]


def test_whoever_comes_later_learns_who_is_there_and_what_was_last(sink_for, broker):
    sink = sink_for()
    gone = letter_of(Event("e8", 0.0, "camera", "yard", "it does not answer", "error", "yard", data={"online": False}))
    sink.deliver([*some_letters(3), gone])
    late = Listener(broker.port, "edgewright/#")
    late.wait_for(lambda messages: len(messages) >= 4)
    assert {topic: payload for topic, payload, retained in late.messages if retained} == {
        "edgewright/site/status": b"online",
        "edgewright/site/door/last_event": some_letters(3)[2].body,
        "edgewright/site/yard/last_event": gone.body,
        "edgewright/site/yard/status": b"offline",
    }
    late.close()


def test_going_is_said_and_dying_is_noticed(sink_for, listener, tmp_path):
    sink = sink_for()
    sink.deliver([])
    sink.close()
    listener.wait_for(lambda _: listener.on("edgewright/site/status")[-1:] == [b"offline"])
    sink.deliver([])
    listener.wait_for(lambda _: listener.on("edgewright/site/status")[-1:] == [b"online"])
    sink._client.socket().shutdown(socket.SHUT_RDWR)
    listener.wait_for(lambda _: listener.on("edgewright/site/status")[-1:] == [b"offline"])
    sink.deliver([])
    listener.wait_for(lambda _: listener.on("edgewright/site/status")[-1:] == [b"online"])


def test_a_broker_that_was_away_gets_the_greeting_again_without_any_record(sink_for, broker):
    sink = sink_for()
    sink.deliver([])
    broker.kill()
    with contextlib.suppress(UndeliveredError):
        sink.deliver([])  # it may not have heard yet
    with pytest.raises(UndeliveredError, match="cannot be reached"):
        sink.deliver([])
    broker.start()
    sink.deliver([])
    late = Listener(broker.port)
    late.wait_for(lambda _: late.on("edgewright/site/status") == [b"online"])
    late.close()


def test_wrong_credentials_are_said_without_them(tmp_path):
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    broker = broker_in(tmp_path, "allow_anonymous false", f"password_file {passwords}").start()
    sink = open_sink(broker.output(user="ann", password=Secret("hunter2")), place_for(tmp_path))
    with pytest.raises(UndeliveredError, match=r"refuses the connection: Not authori[sz]ed") as undelivered:
        sink.deliver(some_letters(1))
    assert "hunter2" not in str(undelivered.value)
    sink.close()
    broker.kill()


@pytest.mark.parametrize("greets", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x20\x02\x00"])
def test_what_is_no_broker_holds_nobody_up(tmp_path, monkeypatch, greets):
    monkeypatch.setattr(mqtt_module, "CONNECT_WITHIN_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = []

        def accept():
            connection, _ = server.accept()
            accepted.append(connection)
            connection.sendall(greets)

        thread = threading.Thread(target=accept)
        thread.start()
        sink = open_sink(MqttOutput("m", host="127.0.0.1", port=server.getsockname()[1]), place_for(tmp_path))
        with pytest.raises(UndeliveredError):
            sink.deliver(some_letters(1))
        sink.close()
        thread.join()
        accepted[0].close()


def test_a_file_of_certificates_that_is_none_is_said_at_once(tmp_path):
    (tmp_path / "ca.pem").write_text("nonsense")
    for name in ("ca.pem", "gone.pem"):
        with pytest.raises(HostError, match="cannot read the certificates"):
            open_sink(MqttOutput("m", tls=True, ca_file=tmp_path / name), place_for(tmp_path))


# --- names --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "level"),
    [("door", "door"), ("a/b+c#d", "a_b_c_d"), ("$SYS", "_SYS"), ("", "_"), ("Tür 2", "Tür 2"), ("x\x00\n", "x__"), ("\ud800", "?")],
)
def test_names_are_one_level_of_a_topic(name, level):
    assert Topics("p", "s").of_camera(name, "events") == f"p/s/{level}/events"


def test_a_prefix_may_have_levels():
    assert Topics("/plant/hall 1/", "s").status == "plant/hall 1/s/status"


def test_home_assistant_is_told_of_every_camera():
    messages = discovery(Topics("edgewright", "site"), "homeassistant", ("door", "Tür"), answers=True)
    documents = {message.topic: json.loads(message.payload) for message in messages}
    assert all(message.retain for message in messages)
    assert len(documents) == 8
    assert len({document["unique_id"] for document in documents.values()}) == 8
    assert {document["availability_topic"] for document in documents.values()} == {"edgewright/site/status"}
    assert documents["homeassistant/sensor/edgewright_site_door/last_event/config"] == {
        "name": "Last event",
        "unique_id": "edgewright_site_door_last_event",
        "availability_topic": "edgewright/site/status",
        "device": {
            "identifiers": ["edgewright_site_door"],
            "name": "site door",
            "manufacturer": "edgewright",
            "model": "camera",
            "sw_version": documents["homeassistant/sensor/edgewright_site_door/last_event/config"]["device"]["sw_version"],
        },
        "qos": 1,
        "state_topic": "edgewright/site/door/last_event",
        "value_template": "{{ value_json.name[:255] }}",
        "json_attributes_topic": "edgewright/site/door/last_event",
    }
    assert all(topic.isascii() for topic in documents)
    assert not any("objects" in message.topic for message in discovery(Topics("p", "s"), "ha", ("c",), answers=False))
