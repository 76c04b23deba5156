"""An MQTT client that is not ours, at the other end of the line: paho-mqtt."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.real import eventually

WITHIN_S: Final = 20.0


class Peer:
    """Publishes with QoS 1 and waits for the answers; listens and keeps what it hears."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.heard: list[tuple[str, bytes]] = []
        self.properties: list[list[tuple[str, str]]] = []
        """User properties of what was heard."""
        self._reasons: dict[int, int] = {}
        self._listening: set[int] = set()
        self._client = Client(CallbackAPIVersion.VERSION2, f"peer-{uuid4().hex}", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._hear
        self._client.on_publish = self._answered
        self._client.on_subscribe = self._subscribed
        self._client.connect(host, int(port), clean_start=True)
        self._client.loop_start()
        eventually(self._client.is_connected, within_s=WITHIN_S)

    def _hear(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.properties.append(getattr(message.properties, "UserProperty", []))
        self.heard.append((message.topic, message.payload))

    def _answered(self, _client: Client, _data: object, mid: int, reason: ReasonCode, _more: Properties) -> None:
        self._reasons[mid] = reason.value

    def _subscribed(self, _client: Client, _data: object, mid: int, _reasons: list[ReasonCode], _more: object) -> None:
        self._listening.add(mid)

    def publish(self, topic: str, *payloads: bytes, retain: bool = False) -> list[int]:
        """Publish in order; give the broker's reasons: 0, or 16 if nobody is subscribed."""
        mids = [self._client.publish(topic, payload, qos=1, retain=retain).mid for payload in payloads]
        eventually(lambda: all(mid in self._reasons for mid in mids), within_s=WITHIN_S)
        return [self._reasons[mid] for mid in mids]

    def listen(self, pattern: str) -> None:
        """Hear what is published from now on, and what was retained before."""
        _, mid = self._client.subscribe(pattern, qos=1)
        eventually(lambda: mid in self._listening, within_s=WITHIN_S)

    def payloads(self) -> list[bytes]:
        """Give the payloads heard, in order."""
        return [payload for _, payload in list(self.heard)]

    def close(self) -> None:
        """Leave in order."""
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def peer(address: str) -> Iterator[Peer]:
    """Give a peer for a while."""
    one = Peer(address)
    try:
        yield one
    finally:
        one.close()
