"""A line with a delay, a loss and a rate: what becomes of each packet, and when."""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from edgewise.clock import MILLISECOND_NS, SECOND_NS
from edgewise.errors import ConfigError

QUEUE_PACKETS: Final = 1000
"""That wait for the line; what comes on top is dropped. It is netem's own number."""
PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """One line, the same in both directions."""

    rate_kbit_s: int
    """That it carries a second."""
    delay_ms: float
    """Each way."""
    loss_percent: float
    """Of the packets, at random."""

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"{self.rate_kbit_s}kbit/{self.delay_ms:g}ms/{self.loss_percent:g}%"

    def netem(self) -> list[str]:
        """Write it as tc's netem takes it."""
        loss = ("loss", f"{self.loss_percent:g}%") if self.loss_percent else ()
        limit = ("limit", str(QUEUE_PACKETS))
        return ["netem", "delay", f"{self.delay_ms:g}ms", *loss, "rate", f"{self.rate_kbit_s}kbit", *limit]


def parse(text: str) -> Shape:
    """Read RATEkbit/DELAYms/LOSS%.

    Raises:
        ConfigError: it is none.
    """
    try:
        rate, delay, loss = text.split("/")
        found = Shape(int(rate.removesuffix("kbit")), float(delay.removesuffix("ms")), float(loss.removesuffix("%")))
    except ValueError:
        found = Shape(0, 0, 0)
    if not (found.rate_kbit_s > 0 and 0 <= found.delay_ms <= 10_000 and 0 <= found.loss_percent < PERCENT):  # noqa: PLR2004 - ten seconds
        raise ConfigError(f"a line is RATEkbit/DELAYms/LOSS%, not {text!r}; for example 2000kbit/50ms/1%")
    return found


@dataclass(slots=True)
class Line:
    """One direction: packets go in when they come, and out when the line has carried them."""

    shape: Shape
    chance: random.Random
    free_ns: int = 0
    """When the line has carried what waits for it."""
    _waiting: deque[tuple[int, bytes]] = field(default_factory=deque)

    def offer(self, packet: bytes, *, now_ns: int) -> None:
        """Take a packet, or drop it."""
        if self.chance.random() * PERCENT < self.shape.loss_percent or len(self._waiting) >= QUEUE_PACKETS:
            return
        took_ns = len(packet) * 8 * SECOND_NS // (self.shape.rate_kbit_s * 1000)
        self.free_ns = max(self.free_ns, now_ns) + took_ns
        # A line that is made shorter meanwhile lets no packet overtake another.
        before_ns = self._waiting[-1][0] if self._waiting else 0
        out_ns = max(self.free_ns + round(self.shape.delay_ms * MILLISECOND_NS), before_ns)
        self._waiting.append((out_ns, packet))

    def next_ns(self) -> int | None:
        """Say when the next packet comes out; None if none is on its way."""
        return self._waiting[0][0] if self._waiting else None

    def out(self, *, now_ns: int) -> Sequence[bytes]:
        """Give the packets that have arrived."""
        arrived = []
        while self._waiting and self._waiting[0][0] <= now_ns:
            arrived.append(self._waiting.popleft()[1])
        return arrived
