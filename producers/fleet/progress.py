"""How a fleet is getting on, group by group, while it runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from edgewise import log, show
from edgewise.account import Plan
from edgewise.clock import SECOND_NS, Clock
from edgewise.parts import say
from producers.camera.tally import Tally
from producers.fleet.share import Standing, Tell

REFRESH_HZ: Final = 2
"""Of what is shown: to draw it takes milliseconds, which frames wait for."""
SAID_S: Final = 5.0
"""How often it is said where nothing can be drawn."""
BAR_COLUMNS: Final = 14
NUMBERS: Final = ("connected", "scheduled", "sent", "confirmed", "late", "dropped")
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a group is to do, worked out once: a trace is long."""

    name: str
    cameras: int
    frames: int

    def counts(self, tally: Tally) -> dict[str, int]:
        """Give what it has done so far beside it."""
        numbers = (tally.connected, self.frames, tally.sent, tally.confirmed, tally.late, tally.dropped)
        return dict(zip(NUMBERS, numbers, strict=True))


class _Groups:
    """All groups of a fleet, and how far they are."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._groups = [_Asked(plan.fleet, plan.cameras, plan.frames_together()) for plan in plans]
        self._all = _Asked(ALL, sum(one.cameras for one in self._groups), sum(one.frames for one in self._groups))
        self.standing: Standing = {}

    def rows(self) -> Iterator[tuple[_Asked, Tally]]:
        """Give each group and its tally; of several, all of them too."""
        for group in self._groups:
            yield group, self.standing.get(group.name, Tally())
        if len(self._groups) > 1:
            yield self._all, sum(self.standing.values(), start=Tally())

    def table(self) -> Table:
        """Lay it out: cameras connected, and frames."""
        made = show.grid("group", "progress", numbers=NUMBERS)
        for group, tally in self.rows():
            bar = ProgressBar(total=group.frames, completed=tally.sent + tally.dropped, width=BAR_COLUMNS)
            connected, *counts = group.counts(tally).values()
            made.add_row(group.name, bar, f"{connected:,}/{group.cameras:,}", *(f"{count:,}" for count in counts))
        return made

    def say(self) -> None:
        """Say it, a line for each."""
        for group, tally in self.rows():
            counts = group.counts(tally)
            words = ", ".join(f"{count:,} {name}" for name, count in counts.items())
            say(f"fleet: {group.name}: {words}", group=group.name, cameras=group.cameras, **counts)


@contextmanager
def shown(plans: Sequence[Plan], *, clock: Clock) -> Iterator[Tell]:
    """Show it on stderr; give what is to be told.

    On a terminal it is drawn REFRESH_HZ times a second, elsewhere said every SAID_S and drawn at the end, and where
    programs read what is said there, only said.
    """
    groups = _Groups(plans)
    if log.form() is log.Form.JSON:
        yield _now_and_then(groups, groups.say, every_s=SAID_S, clock=clock)
        return
    with Live(console=show.drawing(), auto_refresh=False) as live:
        terminal = live.console.is_terminal

        def draw() -> None:
            live.update(groups.table(), refresh=terminal)

        try:
            yield (
                _now_and_then(groups, draw, every_s=1 / REFRESH_HZ, clock=clock)
                if terminal
                else _now_and_then(groups, groups.say, every_s=SAID_S, clock=clock)
            )
        finally:
            draw()
    if not terminal:  # where nothing moves, rich leaves the last line open
        live.console.line()


def _now_and_then(groups: _Groups, show_it: Callable[[], None], *, every_s: float, clock: Clock) -> Tell:
    """Give what hears how far they are, and shows it if it is time to."""
    shown_ns = clock.ticks_ns()

    def tell(standing: Standing) -> None:
        nonlocal shown_ns
        groups.standing = standing
        if clock.ticks_ns() >= shown_ns + every_s * SECOND_NS:
            shown_ns = clock.ticks_ns()
            show_it()

    return tell
