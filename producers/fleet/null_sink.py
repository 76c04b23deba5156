"""An MQTT broker that confirms every frame and keeps none: what is left is the cameras' own speed.

It shares the machine with the cameras, and one thread of it answers all of them, so that it does as little as it can:
no library opens a packet. How busy it was is told, because a sink that was always busy was the limit itself.
"""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import mqtt5

from edgewise.addresses import LOOPBACK, Address
from edgewise.clock import SystemClock, thread_spent_ns
from edgewise.mqtt.opening import READ_BYTES

WITHIN_S: Final = 5.0
"""That it ends."""
BACKLOG: Final = 4096
CONNECT, PUBLISH, PINGREQ = 1, 3, 12
"""Kinds of packets that are answered."""
CONNACK: Final = bytes(mqtt5.ConnAckPacket().write())
PINGRESP: Final = bytes(mqtt5.PingRespPacket().write())
PUBACK: Final = bytes((0x40, 2))
"""In front of the packet's id."""
QOS: Final = 0b110
"""Bits of a PUBLISH's first byte: a frame of QoS 0 is not answered."""
LENGTH_MOST: Final = 4
"""Bytes of a packet's length."""


class NullSink:
    """Serves from a thread of its own, until it is closed."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0), backlog=BACKLOG)
        self._listener.setblocking(False)  # noqa: FBT003 - its only argument
        self.address = str(Address(LOOPBACK, self._listener.getsockname()[1]))
        self._wake, self._woken = socket.socketpair()
        self._cameras: dict[socket.socket, bytearray] = {}
        """What has arrived of each and is not whole yet."""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self.busy_share = 0.0
        """Of the time from its first frame to its last, that its thread has worked."""
        self._thread = threading.Thread(target=self._serve, name="edgewise-null-sink", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        clock, began = SystemClock(), (0, 0)
        while True:
            for key, _ in self._selector.select():
                one = key.fileobj
                assert isinstance(one, socket.socket)  # noqa: S101 - nothing else was registered
                if one is self._woken:
                    return
                if one is self._listener:
                    self._accept()
                elif self._answer(one):
                    spent = thread_spent_ns(), clock.ticks_ns()
                    began = began if any(began) else spent
                    self.busy_share = (spent[0] - began[0]) / max(1, spent[1] - began[1])

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                camera, _ = self._listener.accept()
                camera.setblocking(False)  # noqa: FBT003 - its only argument
                camera.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._cameras[camera] = bytearray()
                self._selector.register(camera, selectors.EVENT_READ)

    def _answer(self, camera: socket.socket) -> bool:
        """Answer what has arrived; say whether frames were among it."""
        arrived = self._cameras[camera]
        try:
            chunk = camera.recv(READ_BYTES)
            arrived += chunk
            answers, frames = _answers(arrived)
            if answers:
                camera.sendall(answers)  # a few bytes for each frame, which its camera reads
        except (OSError, ValueError):
            chunk, frames = b"", 0
        if not chunk:
            self._selector.unregister(camera)
            del self._cameras[camera]
            camera.close()
        return bool(frames)

    def close(self) -> None:
        """Serve no more."""
        self._wake.send(b"x")
        self._thread.join(WITHIN_S)
        self._selector.close()
        for one in (self._listener, self._wake, self._woken, *self._cameras):
            one.close()


def _answers(arrived: bytearray) -> tuple[bytes, int]:
    """Take the packets that are whole; give the answers to them, and how many frames they were.

    Raises:
        ValueError: it is no MQTT.
    """
    answers, frames, at = bytearray(), 0, 0
    while (found := _body(arrived, at)) is not None:
        first, (body, ends) = arrived[at], found
        kind, at = first >> 4, ends
        if kind == PUBLISH:
            frames += 1
            if first & QOS:
                packet_id = body + 2 + (arrived[body] << 8 | arrived[body + 1])  # behind the topic
                answers += PUBACK + arrived[packet_id : packet_id + 2]
        elif kind == CONNECT:
            answers += CONNACK
        elif kind == PINGREQ:
            answers += PINGRESP
        elif not kind:
            raise ValueError("no MQTT")
    del arrived[:at]
    return bytes(answers), frames


def _body(arrived: bytearray, at: int) -> tuple[int, int] | None:
    """Give where a packet's content begins and ends; None if it has not arrived whole."""
    length = 0
    for place, digit in enumerate(arrived[at + 1 : at + 1 + LENGTH_MOST]):
        length |= (digit & 127) << 7 * place
        if digit <= 127:  # noqa: PLR2004 - no more of the length follows
            body = at + place + 2
            return (body, body + length) if body + length <= len(arrived) else None
    return None


@contextmanager
def null_sink() -> Iterator[NullSink]:
    """Serve while the block lasts."""
    sink = NullSink()
    try:
        yield sink
    finally:
        sink.close()
