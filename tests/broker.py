"""A real mosquitto on a port of its own, that can be killed and started again on the same one."""

import shutil
import socket
import subprocess
import threading

import pytest

from edgewright.run.settings import MqttOutput

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Broker:
    def __init__(self, folder, *lines):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        # As root it would become a user who may not read a test's folder.
        self._config.write_text("\n".join(["user root", f"listener {self.port} 127.0.0.1", *(lines or ("allow_anonymous true",)), ""]))
        self._process = None

    def start(self):
        self._process = subprocess.Popen([PROGRAM, "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                threading.Event().wait(0.02)
            else:
                return self
        self.kill()
        raise AssertionError("mosquitto does not start")

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def output(self, **more):
        return MqttOutput("mqtt", host="127.0.0.1", port=self.port, **more)


def broker_in(folder, *lines):
    if PROGRAM is None:
        pytest.skip("no mosquitto here: apt-get install mosquitto")
    return Broker(folder, *lines)


class Listener:
    """Everything that is published, as (topic, payload, retained); it comes back when the broker does."""

    def __init__(self, port, topic="#", qos=1, **credentials):
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages, self._ready = [], threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        if credentials:
            self._client.username_pw_set(**credentials)
        self._client.reconnect_delay_set(0.05, 0.1)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=qos)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _data, got: self.messages.append((got.topic, got.payload, got.retain))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(20)

    def wait_for(self, is_there, within_s=20.0):
        for _ in range(int(within_s / 0.02)):
            if is_there(self.messages):
                return
            threading.Event().wait(0.02)
        raise AssertionError(f"did not arrive; {len(self.messages)} messages did")

    def on(self, topic):
        return [payload for each, payload, _ in self.messages if each == topic]

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
