"""A subscriber beside the cameras: what reached the broker, by the stamps that the senders gave it."""

import struct
import threading
from array import array
from typing import Final

import mqtt5
import numpy as np
from numpy.typing import NDArray

from edgewise.clock import SystemClock
from edgewise.messages import decode_frame
from edgewise.mqtt.connection import Connection, LostError
from edgewise.mqtt.inbox import ALL_FRAMES

CLOCK: Final = SystemClock()
STAMP: Final = struct.Struct(">QQ")
"""Number and moment, with which Locust's payloads begin."""
LOCUST: Final = "cameras/locust-"
STATUS: Final = "cameras/+/status"
UNKNOWN: Final = -1
Numbers = NDArray[np.int64]


class Heard:
    """Frames in the order of their arrival, each sender's numbered from 0."""

    def __init__(self) -> None:
        self._senders: dict[str, int] = {}
        self._columns = [array("q") for _ in range(4)]
        self.connected = 0
        """Senders that were online at the same time, at most."""
        self._online: set[str] = set()

    def take(self, packet: mqtt5.PublishPacket) -> None:
        """Note one message."""
        if packet.topic.endswith("/status"):
            (self._online.add if packet.payload == b"online" else self._online.discard)(packet.topic)
            self.connected = max(self.connected, len(self._online))
            return
        if packet.topic.startswith(LOCUST):
            number, sent_ns = STAMP.unpack_from(packet.payload)
            row = self._senders.setdefault(packet.topic, len(self._senders)), number, UNKNOWN, sent_ns
        else:
            frame = decode_frame(packet.payload)
            row = (
                self._senders.setdefault(packet.topic, len(self._senders)),
                frame.number,
                frame.due_ns,
                frame.sent_ns,
            )
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def __len__(self) -> int:
        """Count the frames, copies too."""
        return len(self._columns[-1])

    def rows(self) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """Give sender, number, due_ns and sent_ns of each frame once, sender after sender in the order of numbers."""
        sender, number, due_ns, sent_ns = (np.array(column, dtype=np.int64) for column in self._columns)
        _, first = np.unique(sender << 32 | number, return_index=True)
        return sender[first], number[first], due_ns[first], sent_ns[first]


class Listener:
    """Hears all cameras from a thread of its own."""

    def __init__(self, address: str, *, client_id: str) -> None:
        hello = mqtt5.ConnectPacket(client_id, clean_start=True, keep_alive=30)
        self._connection = Connection(address, hello=hello, clock=CLOCK)
        once = [mqtt5.TopicFilter(pattern, max_qos=mqtt5.QoS.AT_MOST_ONCE) for pattern in (ALL_FRAMES, STATUS)]
        self._connection.send(mqtt5.SubscribePacket(1, once).write())
        self.heard = Heard()
        self._lost: LostError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            while not self._stop.is_set():
                self._connection.wait(wait_s=0.2)
                for packet in self._connection.receive():
                    if isinstance(packet, mqtt5.PublishPacket):
                        self.heard.take(packet)
        except LostError as error:
            self._lost = error

    def close(self) -> Heard:
        """Hear no more; give what was heard.

        Raises:
            LostError: the broker hung up meanwhile.
        """
        self._stop.set()
        self._thread.join()
        self._connection.close()
        if self._lost is not None:
            raise self._lost
        return self.heard
