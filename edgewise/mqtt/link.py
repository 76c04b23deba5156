"""A slow and lossy link in front of a socket, without a thread, a pause, or a frame lost.

MQTT runs over TCP: what a bad link loses is sent again by the kernel, and all that follows
waits for it. So a loss costs time here and never content, and everything arrives in order.
"""

import random
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from edgewise.clock import MILLISECOND_NS, SECOND_NS, Clock
from edgewise.mqtt.access import TlsSocket
from edgewise.words import settings

SEGMENT_BYTES: Final = 1460
"""What TCP puts into one packet of an Ethernet."""
REPEAT_NS: Final = 200 * MILLISECOND_NS
"""Beside the way there and back, until TCP sends a segment again: the least that Linux waits."""
BUFFER_BYTES: Final = 1 << 18
"""What may wait to be sent, before the socket takes no more."""
RATE_LEAST_KBIT_S: Final = 0.1
"""A raw frame takes some four minutes."""
AGAIN_NS: Final = 10 * MILLISECOND_NS
"""Until the real socket is tried again, if it takes no more."""


class Link(BaseModel):
    """What a link is like; as it is said: ``delay_ms=80,jitter_ms=20,loss_share=0.01,rate_kbit_s=2000``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    delay_ms: float = Field(default=0.0, ge=0, le=10_000)
    """Each way. With the most jitter too, an answer is back before keep-alive takes its broker for silent."""
    jitter_ms: float = Field(default=0.0, ge=0, le=2_000)
    """Up to so much more, evenly drawn for each segment; none overtakes another."""
    loss_share: float = Field(default=0.0, ge=0, le=0.5)
    """Of the segments, each way; each of them costs the time until it is sent again, every further loss twice that."""
    rate_kbit_s: float = Field(default=0.0, ge=0)
    """Towards the broker, in 1000 bits a second; 0 is without bound."""

    @field_validator("rate_kbit_s")
    @classmethod
    def _moves(cls, rate_kbit_s: float) -> float:
        """Refuse what would never bring a frame there."""
        if 0 < rate_kbit_s < RATE_LEAST_KBIT_S:
            raise ValueError(f"a link has {RATE_LEAST_KBIT_S:g} at least, or 0 for no bound")
        return rate_kbit_s

    @property
    def perfect(self) -> bool:
        """Say whether it might as well not be there."""
        return self == Link()


LinkAsSaid = Annotated[Link, BeforeValidator(settings)]
"""A link from its words, or from a table."""


class _Way:
    """One direction: what goes in comes out later, in order."""

    def __init__(self, link: Link, *, rate_kbit_s: float, chance: random.Random) -> None:
        self._chance, self._loss_share = chance, link.loss_share
        self._delay_ns, self._jitter_ns = (round(one * MILLISECOND_NS) for one in (link.delay_ms, link.jitter_ms))
        self._byte_ns = 8 * SECOND_NS / (1000 * rate_kbit_s) if rate_kbit_s else 0.0
        self._repeat_ns = 2 * self._delay_ns + self._jitter_ns + REPEAT_NS
        self._under_way: deque[tuple[int, bytes]] = deque()
        """Moment of arrival, content."""
        self._free_ns = self._last_ns = 0
        self.size_bytes = 0
        """Of what is under way."""

    def put(self, content: bytes, *, now_ns: int) -> None:
        """Let it set out."""
        for begin in range(0, len(content), SEGMENT_BYTES):
            segment = content[begin : begin + SEGMENT_BYTES]
            took_ns = round(len(segment) * self._byte_ns)
            self._free_ns = max(self._free_ns, now_ns) + took_ns
            arrives_ns = self._free_ns + self._delay_ns + round(self._jitter_ns * self._chance.random())
            repeat_ns = self._repeat_ns
            while self._chance.random() < self._loss_share:
                arrives_ns += repeat_ns
                repeat_ns *= 2
                self._free_ns += took_ns
            self._last_ns = max(self._last_ns, arrives_ns)
            self._under_way.append((self._last_ns, segment))
        self.size_bytes += len(content)

    def next_ns(self) -> int | None:
        """Say when the next of it arrives."""
        return self._under_way[0][0] if self._under_way else None

    def take(self, *, now_ns: int | None) -> bytes:
        """Give what has arrived by now; without a moment, all of it."""
        arrived = []
        while self._under_way and (now_ns is None or self._under_way[0][0] <= now_ns):
            arrived.append(self._under_way.popleft()[1])
        found = b"".join(arrived)
        self.size_bytes -= len(found)
        return found


class LinkedSocket:
    """A socket that does not wait, behind a link: what a connection needs of it.

    Nothing moves by itself: somebody calls ``recv`` at ``next_ns``.
    """

    def __init__(self, inner: socket.socket | TlsSocket, *, link: Link, chance: random.Random, clock: Clock) -> None:
        self._socket, self._clock = inner, clock
        self._there = _Way(link, rate_kbit_s=link.rate_kbit_s, chance=chance)
        self._back = _Way(link, rate_kbit_s=0, chance=chance)
        self._arrived = bytearray()
        """Through the link, not yet taken by the real socket ..."""
        self._again_ns = 0
        """... which is tried again then."""
        self._ended = False

    def fileno(self) -> int:
        """Give the real socket's number."""
        return self._socket.fileno()

    def send(self, content: bytes | bytearray | memoryview) -> int:
        """Send as much as there is room for; raise BlockingIOError if there is none."""
        now_ns = self._clock.ticks_ns()
        self._forward(now_ns)  # what has come out has made room
        if (room := BUFFER_BYTES - self._there.size_bytes) <= 0:
            raise BlockingIOError
        taken = bytes(content[:room])
        self._there.put(taken, now_ns=now_ns)
        self._forward(now_ns)
        return len(taken)

    def _forward(self, now_ns: int) -> None:
        """Hand on what has come through the link."""
        self._arrived += self._there.take(now_ns=now_ns)
        if not self._arrived:
            return
        with suppress(BlockingIOError):
            del self._arrived[: self._socket.send(self._arrived)]
        self._again_ns = now_ns + AGAIN_NS

    def recv(self, most: int) -> bytes:
        """Give what has come through the link; raise BlockingIOError if nothing has; empty is the end."""
        now_ns = self._clock.ticks_ns()
        self._forward(now_ns)
        with suppress(BlockingIOError):
            while not self._ended:
                chunk = self._socket.recv(most)
                self._ended = not chunk
                self._back.put(chunk, now_ns=now_ns)
        # The end is told at once: a selector would go on telling of it.
        found = self._back.take(now_ns=None if self._ended else now_ns)
        if not found and not self._ended:
            raise BlockingIOError
        return found

    def next_ns(self) -> int | None:
        """Say at which tick something comes out of the link; None if nothing is in it."""
        moments = [self._there.next_ns(), self._back.next_ns(), self._again_ns if self._arrived else None]
        return min((one for one in moments if one is not None), default=None)

    def unlinked(self) -> tuple[socket.socket | TlsSocket, bytes]:
        """Give the real socket, and what it was yet to be sent: the link is no more."""
        return self._socket, bytes(self._arrived) + self._there.take(now_ns=None)

    def shutdown(self, how: int) -> None:
        """See socket."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """See socket."""
        self._socket.close()


Through = Callable[[socket.socket | TlsSocket], LinkedSocket]


def through(link: Link, *, seed: str, clock: Clock) -> Through | None:
    """Give what puts sockets behind a link, all of them with one stream of chance; None if it is perfect."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    return None if link.perfect else partial(LinkedSocket, link=link, chance=chance, clock=clock)
