"""A publisher with a window of frames in flight, and a count of what became of each."""

import random
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from typing import Final, Literal, Protocol

import mqtt5

from edgewise.clock import SECOND_NS, Clock, Deadline
from edgewise.errors import ConfigError, RefusedError, UnreachableError
from edgewise.mqtt.access import login, refused
from edgewise.mqtt.connection import KEEP_ALIVE_S, Connection, LostError, TakenOverError, part
from edgewise.mqtt.link import Through
from edgewise.mqtt.opening import Opening
from edgewise.mqtt.presence import camera_status, last_will, status
from edgewise.tracing import TRACEPARENT

SESSION_S: Final = 300
RETRY_S: Final = 0.2
"""From a lost connection to the second try for another; twice as long after each that fails or comes to nothing."""
RETRY_MOST_S: Final = 5.0
STEADY_S: Final = 2.0
"""That a connection must have lasted so that its loss is the first one again."""
LEAVE_S: Final = 1.0
"""For the last answers before a camera leaves, and for the broker to hang up after it has."""
TRIES_MOST: Final = 10
"""That are counted: a wait of RETRY_MOST_S is reached before."""
PACKET_IDS: Final = 65_535


class Answer(Enum):
    """What the broker said to a frame."""

    CONFIRMED = "confirmed"
    """It has it, for at least one reader."""
    UNHEARD = "unheard"
    """It took it and dropped it: nobody is subscribed (reason 16)."""
    REFUSED = "refused"
    """It did not take it."""


class Outbox(Protocol):
    """A camera's way out: a connection of its own, or its place on one that it shares."""

    @property
    def line(self) -> "Line":
        """The connection."""

    def connected(self) -> bool:
        """Say whether there is a connection, and its camera has not left it."""

    def free(self) -> bool:
        """Say whether one more frame may be sent now."""

    def in_flight(self) -> int:
        """Count the frames sent and not yet answered."""

    def send(self, number: int, wire: bytes, *, trace: str | None = None) -> None:
        """Publish one frame, with its trace's name if it is followed; only while ``free()``."""

    def receive(self) -> Sequence[tuple[int, Answer]]:
        """Give the numbers that were answered since the last call."""


class Line:
    """A publisher's connection; what has QoS 1 is sent again after a reconnect, the rest is gone when it was sent.

    The owner has it ``opened``, watches ``watched`` and calls ``receive`` when something has arrived, at
    ``next_ns``, or when a second has passed. Nothing but ``reconnect`` begins with another connection: a broker
    bears so many a second, which the owner counts.
    """

    def __init__(
        self,
        address: str,
        *,
        client_id: str,
        window: int,
        clock: Clock,
        camera: str | None = None,
        through: Through | None = None,
    ) -> None:
        """Not connect yet; it will be ``through`` a slow link if there is one.

        The line of one ``camera`` has its status and last will, and its user's name where cameras have one each.
        """
        self._address, self._client_id, self._camera, self._clock = address, client_id, camera, clock
        self._status = None if camera is None else camera_status(camera)
        self._asked_window = self._window = window
        self._through = through
        self._in_flight: dict[int, tuple[int, str, bytes, str | None]] = {}
        """By packet id: what the sender calls the frame, topic, content, trace."""
        self._next_id = 0
        self._tries = self._retry_ns = self._began_ns = 0
        self.lost = 0
        """Connections that broke, and were not left."""
        self.trouble: ConfigError | None = None
        """What the broker does not let it do, or who is in its place."""
        self.ended = False
        """Whether it is over for good: another client has its session."""
        self._leaving: Deadline | None = None
        self._said_goodbye = False
        self._back_ns = 0
        self._chance = random.Random(client_id)  # noqa: S311 - no secret
        self._opening: Opening | None = None
        self.connection: Connection | None = None

    def _hello(self) -> mqtt5.ConnectPacket:
        return mqtt5.ConnectPacket(
            self._client_id,
            clean_start=False,
            keep_alive=KEEP_ALIVE_S,
            session_expiry_interval=SESSION_S,
            will=None if self._status is None else last_will(self._status),
            **login(camera=self._camera),
        )

    def _begin(self, connection: Connection) -> None:
        if self._through is not None:
            connection.put(self._through)
        if self._status is not None:
            connection.send(status(self._status, online=True))
        self._window = min(self._asked_window, connection.broker_window)
        self.connection, self._began_ns = connection, self._clock.ticks_ns()
        # What was not answered goes out again; a frame that had arrived all the same arrives twice.
        for packet_id, (_, topic, wire, trace) in self._in_flight.items():
            connection.send(_publish(topic, packet_id, wire, trace=trace, duplicate=True))

    @property
    def watched(self) -> Connection | Opening | None:
        """What a selector must watch now."""
        return self.connection or self._opening

    def connected(self) -> bool:
        """Say whether there is a connection that is not about to be left."""
        return self.connection is not None and self._leaving is None

    def next_ns(self) -> int | None:
        """Say at which tick ``receive`` must be called whatever arrives: a slow link has something to be done."""
        return None if self._through is None or self.connection is None else self.connection.next_ns()

    def room(self, *, answered: bool) -> bool:
        """Say whether one more frame may be sent now, of those that are answered or of the others."""
        if self.connection is None or self._leaving is not None:
            return False
        return len(self._in_flight) < self._window if answered else not self.connection.left_over()

    def in_flight(self) -> int:
        """Count the frames sent and not yet answered."""
        return len(self._in_flight)

    def publish(self, topic: str, key: int, wire: bytes, *, answered: bool, trace: str | None = None) -> None:
        """Publish one frame, which its sender calls ``key``; only while there is room."""
        packet_id = self._kept((key, topic, wire, trace)) if answered else None
        if self.connection is not None:
            try:
                self.connection.send(_publish(topic, packet_id, wire, trace=trace))
            except LostError:
                self._lost()

    def _kept(self, frame: tuple[int, str, bytes, str | None]) -> int:
        """Keep a frame until it is answered; give its packet's id."""
        self._next_id = self._next_id % PACKET_IDS + 1
        while self._next_id in self._in_flight:
            self._next_id = self._next_id % PACKET_IDS + 1
        self._in_flight[self._next_id] = frame
        return self._next_id

    def receive(self) -> Sequence[tuple[int, Answer]]:
        """Give what was answered since the last call, by its key; go on connecting, where that has begun."""
        if self._opening is not None:
            self._reopened()
        if self.connection is None:
            return ()
        answers = []
        try:
            self.connection.flush()
            for packet in self.connection.receive():
                if isinstance(packet, mqtt5.PubAckPacket) and packet.packet_id in self._in_flight:
                    key, topic, _, _ = self._in_flight.pop(packet.packet_id)
                    if packet.reason_code == mqtt5.PubAckReasonCode.NOT_AUTHORIZED:
                        self.trouble = refused(self._address, doing=f"publish to {topic}", camera=self._camera)
                    answers.append((key, _answer(packet.reason_code)))
            if self._leaving is not None:
                self._go(self.connection, self._leaving)
        except TakenOverError:
            self._end()
        except LostError:
            self._lost()
        return answers

    def _end(self) -> None:
        """Leave it to the other client: each would take the session from the other for ever."""
        self._lost()
        self._in_flight.clear()
        self.ended = True
        self.trouble = ConfigError(
            f"another client with the id {self._client_id} took over its session at the MQTT broker at "
            f"{self._address}; a run's fleets need different names: choose another --run or --name"
        )

    def _lost(self) -> None:
        if self.connection is not None:
            if self._clock.ticks_ns() >= self._began_ns + STEADY_S * SECOND_NS:
                self._tries = 0
            self.lost += self._leaving is None
            self.connection.abandon()
        if self._opening is not None:
            self._opening.abandon()
        self.connection = self._opening = None
        if self._leaving is not None:
            self._leaving, self._retry_ns = None, self._back_ns

    # --- coming --------------------------------------------------------------------------------

    def may_connect(self) -> bool:
        """Say whether it wants another try, and the time for it has come: ``reconnect``."""
        without = self.connection is None and self._opening is None and not self.ended
        return without and self._clock.ticks_ns() >= self._retry_ns

    def reconnect(self) -> None:
        """Begin with another try; ``receive`` goes on with it."""
        # Thousands that lost one broker at one moment must not all come back at another.
        wait_s = min(RETRY_MOST_S, RETRY_S * 2 ** min(self._tries, TRIES_MOST)) * self._chance.uniform(0.5, 1.5)
        self._tries += 1
        self._retry_ns = self._clock.ticks_ns() + round(wait_s * SECOND_NS)
        self._reopened()

    def opened(self) -> bool:
        """Go on connecting, without waiting; say whether it is done.

        Raises:
            UnreachableError: nobody answers there, or not as a broker does.
            LostError: it hung up at once.
        """
        if self._opening is None:
            self._opening = Opening(self._address, hello=self._hello(), clock=self._clock)
        try:
            accepted = self._opening.turn()
        except UnreachableError:
            if (another := self._opening.another()) is None:
                raise
            self._opening = another
            return False
        if accepted is None:
            return False
        self._opening = None
        self._begin(Connection(self._address, hello=self._hello(), clock=self._clock, accepted=accepted))
        return True

    def _reopened(self) -> None:
        """Go on connecting; one that fails is tried again."""
        try:
            self.opened()
        except (UnreachableError, RefusedError, LostError):  # a password that did once may do again
            self._lost()

    # --- going ---------------------------------------------------------------------------------

    def leave(self, *, for_ns: int) -> None:
        """Leave in order, as soon as what is in flight is answered; come back after that, at the owner's pace."""
        self._back_ns = self._clock.ticks_ns() + for_ns
        self._tries = 0
        if self.connection is None:
            self._lost()
            self._retry_ns = self._back_ns
            return
        self._leaving, self._said_goodbye = Deadline(self._clock, within_s=LEAVE_S), False

    def _go(self, connection: Connection, leaving: Deadline) -> None:
        """Say goodbye once nothing is in flight, or it takes too long; the broker then hangs up."""
        if self._said_goodbye and leaving.passed():
            self._lost()
        elif not self._said_goodbye and (not self._in_flight or leaving.passed()):
            if self._status is not None:
                connection.send(status(self._status, online=False))
            connection.send(mqtt5.DisconnectPacket(session_expiry_interval=0).write())
            self._leaving, self._said_goodbye = Deadline(self._clock, within_s=LEAVE_S), True

    def abandon(self) -> None:
        """Leave without a word, as a crash would."""
        self._lost()

    def say_goodbye(self) -> Connection | None:
        """Say offline and leave, without waiting; give the connection, which is to be ``part``-ed from."""
        connection, self.connection = self.connection, None
        if connection is None:
            self.abandon()
            return None
        if self._status is not None:
            with suppress(LostError):
                connection.send(status(self._status, online=False))
        connection.say_goodbye(end_session=True)
        return connection

    def close(self) -> None:
        """Say offline and leave, and wait for that."""
        if (connection := self.say_goodbye()) is not None:
            part([connection], clock=self._clock)


class MqttOutbox(Line):
    """One camera's connection of its own: status with last will.

    With QoS 0 a frame is gone when it was sent, and nobody answers.
    """

    def __init__(
        self,
        address: str,
        *,
        camera: str,
        window: int,
        clock: Clock,
        run: str = "",
        qos: Literal[0, 1] = 1,
        through: Through | None = None,
    ) -> None:
        """See Line."""
        self._topic, self._answered = f"cameras/{camera}/frames", qos == 1
        super().__init__(
            address,
            # With the run: two runs at once may have cameras of the same name, and ids must differ.
            client_id=f"camera-{camera}-{run}" if run else f"camera-{camera}",
            window=window,
            clock=clock,
            camera=camera,
            through=through,
        )

    @property
    def line(self) -> Line:
        """Give itself: the connection is its own."""
        return self

    def free(self) -> bool:
        """Say whether one more frame may be sent now."""
        return self.room(answered=self._answered)

    def send(self, number: int, wire: bytes, *, trace: str | None = None) -> None:
        """Publish one frame, with its trace's name if it is followed; only while ``free()``."""
        self.publish(self._topic, number, wire, answered=self._answered, trace=trace)


def _publish(topic: str, packet_id: int | None, wire: bytes, *, trace: str | None, duplicate: bool = False) -> bytes:
    """Write a frame's packet; without an id nobody answers it."""
    qos = mqtt5.QoS.AT_MOST_ONCE if packet_id is None else mqtt5.QoS.AT_LEAST_ONCE
    properties = None if trace is None else [(TRACEPARENT, trace)]
    return mqtt5.PublishPacket(
        topic, wire, qos=qos, packet_id=packet_id, duplicate=duplicate, user_properties=properties
    ).write()


def _answer(reason: mqtt5.PubAckReasonCode) -> Answer:
    match reason:
        case mqtt5.PubAckReasonCode.SUCCESS:
            return Answer.CONFIRMED
        case mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS:
            return Answer.UNHEARD
        case _:
            return Answer.REFUSED
