"""One MQTT 5 session in our own hands: nothing is acknowledged unless it is told to.

The doctor asks foreign brokers with it, and the contract tests our own. It is no
client for frames: it does one thing at a time and waits for the answer.
"""

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgewise import security
from edgewise.addresses import Address
from edgewise.clock import Deadline, SystemClock
from edgewise.errors import UnreachableError

ANSWER_WITHIN_S: Final = 10.0
KEEP_ALIVE_S: Final = 60
PACKET_IDS: Final = 65_535
NEVER_SUBSCRIBED: Final = "edgewise/never-subscribed"


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for us when we are gone."""

    topic: str
    payload: bytes


class Session:
    """Connected from the beginning; left by ``leave`` or, rudely, by ``vanish``."""

    def __init__(
        self,
        address: Address,
        *,
        client_id: str,
        clean_start: bool = True,
        expiry_s: int = 0,
        receive_maximum: int | None = None,
        will: Will | None = None,
    ) -> None:
        """Connect.

        Raises:
            UnreachableError: nobody answers as an MQTT 5 broker.
        """
        self._came: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._connacks: queue.Queue[tuple[bool, ReasonCode, Properties | None]] = queue.Queue()
        self._subacks: queue.Queue[int] = queue.Queue()
        self._pubacks: dict[int, int] = {}
        self._puback = threading.Condition()
        self._unsubscribed = threading.Event()
        self._gone = threading.Event()
        self._client = self._make_client(client_id, will=will)
        if (access := security.in_force().mqtt) is not None:
            self._client.tls_set_context(access.context())
            self._client.username_pw_set(access.user, access.password())
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = expiry_s
        if receive_maximum is not None:
            properties.ReceiveMaximum = receive_maximum
        try:
            self._client.connect(
                address.host, address.port, keepalive=KEEP_ALIVE_S, clean_start=clean_start, properties=properties
            )
            self._client.loop_start()
            self.present, reason, granted = self._connacks.get(timeout=ANSWER_WITHIN_S)
        except (OSError, queue.Empty) as error:
            self.vanish()
            raise UnreachableError("MQTT broker", at=str(address), hint="start one with: edgewise up") from error
        if reason.is_failure:
            self.vanish()
            raise UnreachableError("MQTT broker", at=str(address), hint=f"it refused us: {reason}")
        self._granted = granted

    def granted(self, name: str, *, default: int) -> int:
        """Give one property of the CONNACK, such as ReceiveMaximum; ``default`` is what MQTT says of its absence."""
        found: Any = getattr(self._granted, name, None)
        return default if found is None else int(found)

    def subscribe(self, topics: str, *, qos: int = 1) -> int:
        """Subscribe and return the reason code: 0 to 2 is the granted QoS, 128 and more a refusal."""
        self._client.subscribe(topics, options=SubscribeOptions(qos=qos))
        return self._subacks.get(timeout=ANSWER_WITHIN_S)

    def publish(
        self, topic: str, payloads: Sequence[bytes], *, retain: bool = False, within_s: float = 60.0
    ) -> list[int]:
        """Publish with QoS 1 and return the PUBACKs' reason codes; fewer than payloads if some did not come in time."""
        ids = [self._client.publish(topic, payload, qos=1, retain=retain).mid for payload in payloads]
        with self._puback:
            self._puback.wait_for(lambda: all(number in self._pubacks for number in ids), timeout=within_s)
            return [self._pubacks.pop(number) for number in ids if number in self._pubacks]

    def take(self, count: int, *, within_s: float = ANSWER_WITHIN_S) -> list[paho.MQTTMessage]:
        """Return up to ``count`` messages, unacknowledged; fewer if no more come within ``within_s``."""
        taken: list[paho.MQTTMessage] = []
        deadline = Deadline(SystemClock(), within_s=within_s)
        while len(taken) < count:
            try:
                taken.append(self._came.get(timeout=max(deadline.left_s(), 0.001)))
            except queue.Empty:
                break
        return taken

    def acknowledge(self, messages: Sequence[paho.MQTTMessage]) -> None:
        """Send their PUBACKs."""
        for message in messages:
            self._client.ack(message.mid, message.qos)

    def drain(self, count: int, *, quiet_s: float = ANSWER_WITHIN_S) -> list[paho.MQTTMessage]:
        """Take and acknowledge up to ``count`` messages one by one; fewer if none comes for ``quiet_s``."""
        drained: list[paho.MQTTMessage] = []
        while len(drained) < count and (taken := self.take(1, within_s=quiet_s)):
            self.acknowledge(taken)
            drained += taken
        return drained

    def leave(self) -> None:
        """Say DISCONNECT, after all that was acknowledged; the session lives on if it has an expiry."""
        # A connection closed with unread messages is reset, and then a broker that has not looked yet never sees the
        # last acknowledgements. It answers in order: an answer to this means that it has seen them.
        self._client.unsubscribe(NEVER_SUBSCRIBED)
        self._unsubscribed.wait(timeout=ANSWER_WITHIN_S)
        self._client.disconnect()
        # Stopping paho's thread first would throw away what still waits to be sent.
        self._gone.wait(timeout=ANSWER_WITHIN_S)
        self._client.loop_stop()
        self._forget_each_other()

    def vanish(self) -> None:
        """Close the connection without a word, as a crash does."""
        self._client.loop_stop()
        if (connection := self._client.socket()) is not None:
            connection.close()
        self._forget_each_other()

    def __enter__(self) -> Self:
        """Nothing more: it is connected from the beginning."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave."""
        self.leave()

    def _forget_each_other(self) -> None:
        # paho closes its inner sockets when it is collected, which a circle of references puts off.
        client = self._client
        client.on_connect = client.on_message = client.on_subscribe = None
        client.on_unsubscribe = client.on_publish = client.on_disconnect = None

    def _make_client(self, client_id: str, *, will: Will | None) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(PACKET_IDS)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)

        def on_connect(_c: paho.Client, _u: object, flags: Any, reason: ReasonCode, granted: Any) -> None:  # noqa: ANN401
            self._connacks.put((bool(flags.session_present), reason, granted))

        def on_message(_c: paho.Client, _u: object, message: paho.MQTTMessage) -> None:
            self._came.put(message)

        def on_subscribe(_c: paho.Client, _u: object, _mid: int, reasons: Any, _p: Any) -> None:  # noqa: ANN401
            self._subacks.put(reasons[0].value)

        def on_publish(_c: paho.Client, _u: object, number: int, reason: ReasonCode, _p: object) -> None:
            with self._puback:
                self._pubacks[number] = reason.value
                self._puback.notify_all()

        def on_unsubscribe(*_: object) -> None:
            self._unsubscribed.set()

        def on_disconnect(*_: object) -> None:
            self._unsubscribed.set()  # nobody is left to answer
            self._gone.set()

        client.on_connect = on_connect
        client.on_disconnect = on_disconnect
        client.on_message = on_message
        client.on_subscribe = on_subscribe
        client.on_unsubscribe = on_unsubscribe
        client.on_publish = on_publish
        return client


def end_session(address: Address, *, client_id: str) -> None:
    """Make the broker forget a session and all that it holds for it."""
    Session(address, client_id=client_id).leave()
