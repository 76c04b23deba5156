"""A publisher with a window of frames in flight, and a count of what became of each."""

import random
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from typing import Final, Literal

import mqtt5

from edgewise.clock import SECOND_NS, Clock
from edgewise.errors import UnreachableError
from edgewise.mqtt.connection import KEEP_ALIVE_S, Connection, LostError, greeting
from edgewise.mqtt.presence import camera_status, last_will, status

SESSION_S: Final = 300
RETRY_S: Final = 0.2
"""From a lost connection to the second try for another; twice as long after each that fails."""
RETRY_MOST_S: Final = 5.0
PACKET_IDS: Final = 65_535


class Answer(Enum):
    """What the broker said to a frame."""

    CONFIRMED = "confirmed"
    """It has it, for at least one reader."""
    UNHEARD = "unheard"
    """It took it and dropped it: nobody is subscribed (reason 16)."""
    REFUSED = "refused"
    """It did not take it."""


class MqttOutbox:
    """One camera's connection: status with last will; with QoS 1, sent again after a reconnect.

    With QoS 0 a frame is gone when it was sent, and nobody answers.

    The owner watches ``fileno()`` and calls ``receive`` when something has arrived or a
    second has passed.
    """

    def __init__(
        self, address: str, *, camera: str, window: int, clock: Clock, run: str = "", qos: Literal[0, 1] = 1
    ) -> None:
        self._address, self._camera, self._clock = address, camera, clock
        # With the run: two runs at once may have cameras of the same name, and ids must differ.
        self._client_id = f"camera-{camera}-{run}" if run else f"camera-{camera}"
        self._topic, self._status = f"cameras/{camera}/frames", camera_status(camera)
        self._asked_window = self._window = window
        self._answered = qos == 1
        self._in_flight: dict[int, tuple[int, bytes]] = {}
        self._next_id = 0
        self._tries, self._retry_ns = 0, 0
        self._chance = random.Random(self._client_id)  # noqa: S311 - no secret
        self.connection: Connection | None = None
        with greeting(address):
            self._connect()

    def _connect(self) -> None:
        hello = mqtt5.ConnectPacket(
            self._client_id,
            clean_start=False,
            keep_alive=KEEP_ALIVE_S,
            session_expiry_interval=SESSION_S,
            will=last_will(self._status),
        )
        connection = Connection(self._address, hello=hello, clock=self._clock)
        connection.send(status(self._status, online=True))
        self._window = min(self._asked_window, connection.broker_window)
        self.connection = connection
        # What was not answered goes out again; a frame that had arrived all the same arrives twice.
        for packet_id, (_, wire) in self._in_flight.items():
            connection.send(self._publish(packet_id, wire, duplicate=True))

    def _publish(self, packet_id: int | None, wire: bytes, *, duplicate: bool = False) -> bytes:
        qos = mqtt5.QoS.AT_LEAST_ONCE if self._answered else mqtt5.QoS.AT_MOST_ONCE
        return mqtt5.PublishPacket(self._topic, wire, qos=qos, packet_id=packet_id, duplicate=duplicate).write()

    def fileno(self) -> int:
        """Give the socket's number, -1 while there is none."""
        return -1 if self.connection is None else self.connection.fileno()

    def free(self) -> bool:
        """Say whether one more frame may be sent now."""
        if self.connection is None:
            return False
        return len(self._in_flight) < self._window if self._answered else not self.connection.wants_write()

    def in_flight(self) -> int:
        """Count the frames sent and not yet answered."""
        return len(self._in_flight)

    def send(self, number: int, wire: bytes) -> None:
        """Publish one frame; only while ``free()``."""
        packet_id = self._kept(number, wire) if self._answered else None
        if self.connection is not None:
            try:
                self.connection.send(self._publish(packet_id, wire))
            except LostError:
                self._lost()

    def _kept(self, number: int, wire: bytes) -> int:
        """Keep a frame until it is answered; give its packet's id."""
        self._next_id = self._next_id % PACKET_IDS + 1
        while self._next_id in self._in_flight:
            self._next_id = self._next_id % PACKET_IDS + 1
        self._in_flight[self._next_id] = (number, wire)
        return self._next_id

    def receive(self) -> Sequence[tuple[int, Answer]]:
        """Give the numbers that were answered since the last call; connect again if need be."""
        if self.connection is None and not self._reconnected():
            return ()
        answers = []
        try:
            if self.connection is not None:
                self.connection.flush()
                for packet in self.connection.receive():
                    if isinstance(packet, mqtt5.PubAckPacket) and packet.packet_id in self._in_flight:
                        number, _ = self._in_flight.pop(packet.packet_id)
                        answers.append((number, _answer(packet.reason_code)))
        except LostError:
            self._lost()
        return answers

    def _lost(self) -> None:
        if self.connection is not None:
            self.connection.abandon()
        self.connection = None

    def may_connect(self) -> bool:
        """Say whether it is time for another try: ``receive`` makes it."""
        return self._clock.ticks_ns() >= self._retry_ns

    def _reconnected(self) -> bool:
        if not self.may_connect():
            return False
        # Thousands that lost one broker at one moment must not all come back at another.
        wait_s = min(RETRY_MOST_S, RETRY_S * 2**self._tries) * self._chance.uniform(0.5, 1.5)
        self._tries += 1
        self._retry_ns = self._clock.ticks_ns() + round(wait_s * SECOND_NS)
        try:
            self._connect()
        except (UnreachableError, LostError):
            self._lost()
            return False
        self._tries = 0
        return True

    def close(self) -> None:
        """Say offline and leave."""
        if self.connection is None:
            return
        with suppress(LostError):
            self.connection.send(status(self._status, online=False))
        self.connection.close(end_session=True)
        self.connection = None


def _answer(reason: mqtt5.PubAckReasonCode) -> Answer:
    match reason:
        case mqtt5.PubAckReasonCode.SUCCESS:
            return Answer.CONFIRMED
        case mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS:
            return Answer.UNHEARD
        case _:
            return Answer.REFUSED
