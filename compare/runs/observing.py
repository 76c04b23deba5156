"""How a run may be looked at while it happens: which part is scraped where, and which frames are followed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PARTS: Final = ("fleet", "bridge", "gateway", "cluster", "ledger")
"""In the order of the data, and so of their ports."""
TRACES: Final = "traces.jsonl"
"""In the run folder."""


@dataclass(frozen=True, slots=True)
class Observing:
    """What each part is told beside its work; nothing, unless it is asked for."""

    port: int = 0
    """Of the fleet; the other parts have those that follow, whether they take part or not. 0 lets nobody scrape."""
    trace_every: int = 0
    """One frame in so many of each camera is followed; 0 is none."""

    def ports(self) -> dict[str, int]:
        """Say where each part can be scraped."""
        return {part: self.port + place for place, part in enumerate(PARTS)} if self.port else {}

    def options(self, part: str, folder: Path) -> Iterator[str]:
        """Give what a part's command says of it."""
        if port := self.ports().get(part):
            yield from ("--metrics-port", str(port))
        if self.trace_every and part == "fleet":
            yield from ("--trace-every", str(self.trace_every))
        if self.trace_every and part == "ledger":
            yield from ("--trace-out", str(folder / TRACES))

    def told(self) -> str:
        """Say where to look, in one line; empty if nowhere."""
        return ", ".join(f"{part} at 127.0.0.1:{port}" for part, port in self.ports().items())


NOT_OBSERVED: Final = Observing()
