"""A subscriber that acknowledges only when told to, and then in the order of receipt."""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import mqtt5

from edgewise.arrival import Arrival
from edgewise.clock import MILLISECOND_NS, SECOND_NS, Clock
from edgewise.errors import ConfigError, UnreachableError
from edgewise.mqtt.access import login, refused
from edgewise.mqtt.connection import KEEP_ALIVE_S, Connection, LostError, TakenOverError
from edgewise.mqtt.presence import last_will, part_status, status
from edgewise.prefix import Prefix
from edgewise.tracing import carried

ALL_FRAMES: Final = "cameras/+/frames"
SESSION_S: Final = 24 * 3600
"""How long the broker keeps frames for a reader that is away."""
RETRY_NS: Final = 200 * MILLISECOND_NS
THROWN_OUT_WITHIN_NS: Final = 2 * SECOND_NS
THROWN_OUT_MAX: Final = 5
"""Connections in a row that were lost that soon: two clients take the session from one another."""
TAKEN_OVER: Final = (
    "another client with this client id took over the MQTT session; give each its own --client-id, "
    "and bridges that work together --share"
)
SUBSCRIBING, LEAVING, TIDYING, GREETING = 1, 2, 3, 4
"""Packet ids of our own requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Who reads what."""

    part: str
    """bridge or gateway."""
    client_id: str
    share: str | None = None
    """Name of the shared subscription, or None for all frames."""
    window: int = 1000
    """Frames in flight: taken but not yet acknowledged."""

    @property
    def pattern(self) -> str:
        """The topic filter."""
        return f"$share/{self.share}/{ALL_FRAMES}" if self.share else ALL_FRAMES

    @property
    def other_pattern(self) -> str:
        """The topic filter that this session may have had before."""
        return ALL_FRAMES if self.share else f"$share/{self.part}/{ALL_FRAMES}"


class MqttInbox:
    """A persistent session that survives the broker's restarts and its own.

    ``take`` gives frames, ``finish`` gives them back as done. Receipts belong to the
    connection that delivered the frame: after a reconnect the broker sends again
    whatever it has no acknowledgement of, and older receipts are passed over.
    """

    def __init__(
        self,
        address: str,
        *,
        subscription: Subscription,
        clock: Clock,
        say: Callable[[str], None],
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._address, self._subscription, self._clock = address, subscription, clock
        self._say, self._warn = say, warn or say
        self._status = part_status(subscription.part, subscription.client_id)
        self._ready: deque[Arrival] = deque()
        self._under_way: Prefix[int | None] = Prefix()
        self._connection: Connection | None = None
        self._retry_ns = 0
        self.reconnects = self._thrown_out = 0
        self._since_ns = clock.ticks_ns()
        self._leaving = self.unsubscribed = False
        """No more frames will be queued for this session; those that are still come."""
        try:
            self._connection = self._connected()
        except LostError as error:  # it answered, and may have had its reason: taking tries again
            self._lost(error)

    def _connected(self) -> Connection:
        mine = self._subscription
        hello = mqtt5.ConnectPacket(
            mine.client_id,
            clean_start=False,
            keep_alive=KEEP_ALIVE_S,
            session_expiry_interval=SESSION_S,
            receive_max=mine.window,
            will=last_will(self._status),
            **login(),
        )
        connection = Connection(self._address, hello=hello, clock=self._clock)
        self._since_ns = self._clock.ticks_ns()
        if not self._leaving:
            # Always, not only in a new session: a broker that lost its memory says nothing.
            once = mqtt5.TopicFilter(mine.pattern, max_qos=mqtt5.QoS.AT_LEAST_ONCE)
            # The session may be from before it was shared, or no longer is: both would give each frame twice.
            connection.send(mqtt5.UnsubscribePacket(TIDYING, [mine.other_pattern]).write())
            connection.send(mqtt5.SubscribePacket(SUBSCRIBING, [once]).write())
        return connection

    def take(self, *, limit: int, wait_s: float) -> Sequence[Arrival]:
        """Give the frames that have arrived, at most ``limit``; wait at most so long for the first."""
        try:
            if self._connection is None and not self._reconnected(wait_s=wait_s):
                return ()
            connection = self._connection
            if connection is not None:
                if wait_s > 0 and not self._ready:
                    connection.wait(wait_s=wait_s)
                connection.flush()
                if len(self._ready) < limit:
                    self._sort(connection, connection.receive())
        except LostError as error:
            self._lost(error)
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    def stay(self) -> None:
        """Keep the connection alive while nothing is taken from it."""
        try:
            if self._connection is not None:
                self._connection.ping_if_quiet()
        except LostError as error:
            self._lost(error)

    def _sort(self, connection: Connection, packets: Sequence[mqtt5.Packet]) -> None:
        now_ns = self._clock.now_ns()
        for packet in packets:
            if isinstance(packet, mqtt5.PublishPacket):
                # QoS 0 has no id and gets no acknowledgement: whoever sends so asked for no promise.
                receipt = self._under_way.begin(packet.packet_id)
                camera, properties = packet.topic.split("/")[1], packet.user_properties
                trace = carried(properties) if properties else None
                self._ready.append(
                    Arrival(camera, packet.payload, receipt, now_ns, f"mqtt {packet.topic}", trace=trace)
                )
            elif isinstance(packet, mqtt5.SubAckPacket):
                for code in packet.reason_codes:
                    self._accepted(code)
                connection.send(status(self._status, online=True, packet_id=GREETING))
            elif isinstance(packet, mqtt5.PubAckPacket) and packet.reason_code == mqtt5.PubAckReasonCode.NOT_AUTHORIZED:
                # mosquitto grants any subscription, and then sends nothing: this is where it says no.
                raise refused(self._address, doing=f"be a {self._subscription.part} (topic {self._status})")
            elif isinstance(packet, mqtt5.UnsubAckPacket) and packet.packet_id == LEAVING:
                self.unsubscribed = True

    def _accepted(self, code: mqtt5.SubAckReasonCode) -> None:
        """Raise ConfigError if the broker did not grant what the promises need: QoS 1."""
        if code != mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE:
            raise ConfigError(
                f"the MQTT broker at {self._address} did not grant QoS 1 for {self._subscription.pattern} "
                f"({code.name.lower().replace('_', ' ')}); see what it can do: edgewise doctor --mqtt {self._address}"
            )

    def finish(self, receipts: Sequence[int]) -> None:
        """Acknowledge what is safe: the finished frames before which none is unfinished."""
        safe = self._under_way.finish(receipts)
        if not safe or self._connection is None:
            return
        try:
            # One write for all: a system call costs more than fifty acknowledgements.
            numbers = (packet_id for packet_id in safe if packet_id is not None)
            self._connection.send(b"".join(mqtt5.PubAckPacket(packet_id).write() for packet_id in numbers))
        except LostError as error:
            self._lost(error)

    def under_way(self) -> int:
        """Count the frames taken or ready and not yet acknowledged."""
        return len(self._under_way)

    def _lost(self, error: LostError) -> None:
        """Begin anew.

        Raises:
            ConfigError: another client has the session now.
        """
        if isinstance(error, TakenOverError):
            raise ConfigError(TAKEN_OVER) from error
        # mosquitto 2.0.11, for one, does not say that another client took the session over: it hangs up.
        soon = self._clock.ticks_ns() - self._since_ns < THROWN_OUT_WITHIN_NS
        self._thrown_out = self._thrown_out + 1 if soon else 0
        if self._thrown_out == THROWN_OUT_MAX:
            raise ConfigError(
                f"the MQTT broker hung up {THROWN_OUT_MAX} times as soon as we had connected: {TAKEN_OVER}"
            )
        self._warn(f"MQTT connection lost ({error}); connecting again")
        self.drop()

    def drop(self) -> None:
        """Leave the connection without acknowledging: the broker will send again what is under way."""
        if self._connection is not None:
            self._connection.abandon()
            self._connection = None
        self._ready.clear()
        self._under_way.forget()

    def _reconnected(self, *, wait_s: float) -> bool:
        """Try again if it is time to; otherwise wait a little."""
        now_ns = self._clock.ticks_ns()
        if now_ns < self._retry_ns:
            self._clock.sleep_until(min(self._retry_ns, now_ns + round(wait_s * 1e9)))
            return False
        self._retry_ns = now_ns + RETRY_NS
        try:
            self._connection = self._connected()
        except (UnreachableError, LostError):
            return False
        self.reconnects += 1
        self._say("MQTT connection is back")
        return True

    def unsubscribe(self) -> None:
        """Ask for no more frames; go on taking until ``unsubscribed`` and nothing is under way."""
        self._leaving = True
        if self._connection is not None:
            with suppress(LostError):
                self._connection.send(mqtt5.UnsubscribePacket(LEAVING, [self._subscription.pattern]).write())

    def close(self, *, end_session: bool) -> None:
        """Leave in order; ``end_session`` has the broker keep nothing for us."""
        if self._connection is None:
            return
        with suppress(LostError):
            self._connection.send(status(self._status, online=False))
        self._connection.close(end_session=end_session)
        self._connection = None
