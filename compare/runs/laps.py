"""Where a run's wall time goes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from edgewise.account import Plan
from edgewise.clock import SECOND_NS, Clock


class Laps:
    """Seconds by what they went to, over all runs of one command."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds: dict[str, float] = {}
        self._began_ns = clock.ticks_ns()

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Count the block."""
        began_ns = self._clock.ticks_ns()
        try:
            yield
        finally:
            self.add(name, (self._clock.ticks_ns() - began_ns) / SECOND_NS)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds."""
        self.seconds[name] = self.seconds.get(name, 0.0) + max(0.0, seconds)

    def divide(self, began_ns: int, ended_ns: int, plans: Sequence[Plan]) -> None:
        """Divide a run's time by its plan: until the first frame was due, the schedule, and the last answers."""
        if not plans:
            self.add("parts", (ended_ns - began_ns) / SECOND_NS)
            return
        start_ns, end_ns = min(plan.start_ns for plan in plans), max(plan.end_ns() for plan in plans)
        self.add("parts", (start_ns - began_ns) / SECOND_NS)
        self.add("schedule", (min(end_ns, ended_ns) - start_ns) / SECOND_NS)
        self.add("last answers", (ended_ns - end_ns) / SECOND_NS)

    def told(self) -> str:
        """Write the whole and its pieces, largest first."""
        whole_s = (self._clock.ticks_ns() - self._began_ns) / SECOND_NS
        pieces = sorted(self.seconds.items(), key=lambda one: -one[1])
        return f"took {whole_s:,.1f} s: " + ", ".join(f"{name} {seconds:,.1f}" for name, seconds in pieces)
