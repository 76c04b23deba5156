"""How a tier's results come, and from when on they are missed: a gateway's in a stream, a cluster's batch by batch."""

from collections import deque
from typing import Final

from edgewise.clock import SECOND_NS
from edgewise.messages import Tier

SILENT_S: Final = 2.5
"""A tier that has answered nothing for so long, while frames wait, is silent, ..."""
TIMES: Final = 2.0
"""... but for one that lets them wait longer as a rule: so many times as long as it did lately is then allowed."""
GATEWAY_MOST_S: Final = 3.5
"""A gateway that was killed is to be missed soon, however busy its machine was."""
FIRST_S: Final = 15.0
"""Before its first answer: a cluster's first micro-batch finds it cold."""
LATELY_S: Final = 60.0
LATELY_TIMES: Final = 3.0
"""How long a wait counts: a minute, or so many times itself."""
WAITS_MOST: Final = 64


class Pulse:
    """One tier's."""

    def __init__(self, tier: Tier, *, began_ns: int) -> None:
        self.seen_ns: int | None = None
        """Tick of its last result."""
        self._idle_ns = began_ns
        """Tick at which no frame was waiting for it."""
        self._most_s = GATEWAY_MOST_S if tier is Tier.GATEWAY else float("inf")
        self._waits: deque[tuple[int, float]] = deque(maxlen=WAITS_MOST)
        """Its last long waits: when they ended, and seconds."""

    def beat(self, *, now_ns: int) -> None:
        """Take it that results came."""
        if self.seen_ns == now_ns:
            return
        waited_s = self._waited_s(now_ns=now_ns)
        if self.seen_ns is not None and waited_s * TIMES > SILENT_S:
            self._waits.append((now_ns, waited_s))
        self.seen_ns = now_ns

    def rest(self, *, now_ns: int) -> None:
        """Take it that no frame waits for it."""
        self._idle_ns = now_ns

    def _waited_s(self, *, now_ns: int) -> float:
        """Say for how long frames have been waiting and nothing came."""
        return (now_ns - max(self.seen_ns or 0, self._idle_ns)) / SECOND_NS

    def allowed_s(self, *, now_ns: int) -> float:
        """Say for how long nothing may come while frames wait."""
        if self.seen_ns is None:
            return FIRST_S
        lately_s = [
            waited_s
            for ended_ns, waited_s in self._waits
            if (now_ns - ended_ns) / SECOND_NS < max(LATELY_S, LATELY_TIMES * waited_s)
        ]
        return max(SILENT_S, min(self._most_s, TIMES * max(lately_s, default=0.0)))

    def is_missed(self, *, now_ns: int) -> bool:
        """Say whether frames have been waiting for longer than is usual."""
        return self._waited_s(now_ns=now_ns) > self.allowed_s(now_ns=now_ns)
