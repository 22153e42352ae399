"""An MQTT broker (3.1.1). A record counts as delivered when the broker has acknowledged it (QoS 1), so it arrives once or more.

The network is looked after while something is delivered, and every few seconds in between: no thread, and the outlet alone decides when
to connect again. Whenever we are gone the broker says `offline` for us. Why paho-mqtt: docs/decisions/0024-paho-mqtt.md.
"""

import secrets
import ssl
import time
from collections.abc import Sequence
from typing import Any

from edgewright.errors import HostError
from edgewright.printable import printable
from edgewright.run.letter import Letter
from edgewright.run.settings import MqttOutput
from edgewright.run.sinks.base import Place, UndeliveredError
from edgewright.run.sinks.topics import OFFLINE, ONLINE, Message, Topics, discovery

try:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
except ImportError as error:
    raise HostError("MQTT needs the package paho-mqtt", fix="pip install 'edgewright[mqtt]'") from error

CONNECT_WITHIN_S = 10.0
ACKNOWLEDGED_WITHIN_S = 10.0
CLOSE_WITHIN_S = 1.0
LOOK_S = 0.1  # at the network, at a time
MOST_UNACKNOWLEDGED = 1000


class MqttSink:
    """A broker; see the module.

    Raises:
        HostError: the file of certificates cannot be read.
    """

    on_disk = False
    gather_s = 0.0
    most_records = 100

    def __init__(self, output: MqttOutput, place: Place) -> None:
        self._output = output
        self._name = printable(f"mqtt://{output.host}:{output.port}", 100)
        self._topics = Topics(output.prefix, place.service)
        cameras = output.cameras or place.cameras
        self._greeting = [Message(self._topics.status, ONLINE, retain=True)]
        if output.discovery_prefix is not None:
            self._greeting += discovery(self._topics, output.discovery_prefix, cameras, answers="answers" in output.records)
        self._client: Client | None = None
        self._is_open = False
        self._lost = ""
        self._acknowledged: set[int] = set()
        self._tls: ssl.SSLContext | None = None
        if output.tls:
            try:
                self._tls = ssl.create_default_context(cafile=None if output.ca_file is None else str(output.ca_file))
            except (OSError, ValueError) as error:
                shown = printable(str(output.ca_file), 200)
                raise HostError(
                    f"cannot read the certificates {shown}", got=printable(str(error)), fix="name a PEM file in ca_file"
                ) from error

    def deliver(self, letters: Sequence[Letter]) -> None:
        client = self._connected()
        messages = [self._topics.of_letter(letter) for letter in letters]
        self._publish(client, messages + self._topics.kept(list(letters)), counted=len(messages))

    def close(self) -> None:
        """The broker is told that we go."""
        client = self._client
        if client is not None and self._is_open:
            client.publish(self._topics.status, OFFLINE, qos=1, retain=True)
            client.disconnect()
            self._look(client, CLOSE_WITHIN_S, lambda: not client.is_connected())
        self._drop()

    def _connected(self) -> Client:
        """The client, connected and greeted."""
        if self._client is not None:
            self._client.loop(0.0)  # what came meanwhile, the end of the connection too
        if self._client is None or not self._is_open or self._lost:
            self._drop()
            self._client = self._connect()
            self._publish(self._client, self._greeting, counted=0)
        return self._client

    def _connect(self) -> Client:
        client = self._new_client()
        try:
            client.connect(self._output.host, self._output.port, max(round(self._output.keepalive_s), 5))
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UndeliveredError(f"{self._name} cannot be reached: {said}") from error
        self._look(client, CONNECT_WITHIN_S, lambda: self._is_open)
        if not self._is_open:
            raise UndeliveredError(f"{self._name} {self._lost or 'does not answer'}")
        return client

    def _new_client(self) -> Client:
        output = self._output
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=printable(f"edgewright-{self._topics.service}-{output.name}", 80) + f"-{secrets.token_hex(4)}",
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_WITHIN_S
        client.max_inflight_messages_set(MOST_UNACKNOWLEDGED)
        client.will_set(self._topics.status, OFFLINE, qos=1, retain=True)
        if output.user is not None:
            client.username_pw_set(output.user, None if output.password is None else output.password.reveal())
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.on_connect, client.on_disconnect, client.on_publish = self._on_connect, self._on_disconnect, self._on_publish
        self._is_open, self._lost = False, ""
        self._acknowledged.clear()
        return client

    def _publish(self, client: Client, messages: Sequence[Message], *, counted: int) -> None:
        """All are acknowledged; of those that are not, the error says how many of the first `counted` were."""
        numbers = [client.publish(each.topic, each.payload, qos=1, retain=each.retain).mid for each in messages]
        self._look(client, ACKNOWLEDGED_WITHIN_S, lambda: self._acknowledged.issuperset(numbers))
        delivered = next((at for at, number in enumerate(numbers[:counted]) if number not in self._acknowledged), counted)
        is_done = self._acknowledged.issuperset(numbers)
        self._acknowledged.difference_update(numbers)
        if not is_done:
            lost = self._lost or f"has not acknowledged in {ACKNOWLEDGED_WITHIN_S:g} s"
            self._drop()
            raise UndeliveredError(f"{self._name} {lost}", delivered=delivered)

    def _look(self, client: Client, within_s: float, is_done: Any) -> None:
        """After the network until `is_done`, the connection is lost, or the time is over. Real time: it is the network's."""
        until_s = time.monotonic() + within_s
        while not is_done() and not self._lost and time.monotonic() < until_s:
            if client.loop(LOOK_S) != 0 and not self._lost:
                self._lost = "has closed the connection"

    def _drop(self) -> None:
        """The connection ends as if we had died, so that the broker says so; what was not acknowledged comes again from the spool."""
        self._client, self._is_open, self._lost = None, False, ""

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._lost = f"refuses the connection: {printable(str(reason))}"
        else:
            self._is_open = True

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        self._lost = self._lost or "has closed the connection"

    def _on_publish(self, _client: Client, _data: Any, number: int, _reason: Any, _properties: Any) -> None:
        self._acknowledged.add(number)
