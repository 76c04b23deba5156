"""How far each part's clock is from the ledger's, with a bound: from the exchanges that all of them had with Kafka.

A part on the ledger's own machine has the ledger's clock; nothing is measured there.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from consumers.ledger.collect import Collected
from edgewise.account import Sounding
from edgewise.clock import MILLISECOND_NS
from edgewise.statistics import Interval
from edgewise.summary import PartClock

LEDGER: Final = "ledger"
WAY: Final = ("fleet", "bridge", "gateway", "cluster")
"""The order of a frame's way, in which parts are told."""
Told = Sequence[tuple[Sounding, int]]
"""Exchanges, each with Kafka's stamp."""


def find(collected: Collected) -> dict[str, PartClock]:
    """Give each part's clock, as far as part and ledger compared theirs with Kafka's."""
    by_name: dict[tuple[str, str], list[tuple[Sounding, int]]] = {}
    for told in collected.soundings:
        by_name.setdefault((told[0].part, told[0].name), []).append(told)
    ledger = [told for (part, _), some in by_name.items() if part == LEDGER for told in some]
    named = sorted((key for key in by_name if key[0] != LEDGER), key=lambda one: (WAY.index(one[0]), one[1]))
    parts = [part for part, _ in named]
    return {
        part if parts.count(part) == 1 else f"{part} {name}": _clock(by_name[part, name], ledger)
        for part, name in named
        if ledger
    }


def _clock(told: Told, ledger: Told) -> PartClock:
    here = ledger[0][0].machine
    if here and {sounding.machine for sounding, _ in told} == {here}:
        return PartClock(same_machine=True, offset_ms=0.0, bound_ms=0.0)
    found = [_apart(one, other) for one, other in zip(_ends(told), _ends(ledger), strict=False)]
    if not found:
        return PartClock(same_machine=False, offset_ms=None, bound_ms=None)
    # A clock that was set, or ran away, meanwhile is as wrong as it is sure to have been at its worst.
    worst = max(found, key=lambda one: max(one.low, -one.high))
    return PartClock(
        same_machine=False,
        offset_ms=round((worst.low + worst.high) / 2 / MILLISECOND_NS, 3),
        bound_ms=round((worst.high - worst.low) / 2 / MILLISECOND_NS, 3),
    )


def _apart(part: Interval, ledger: Interval) -> Interval:
    """Say by how much a part's clock is ahead of the ledger's, where Kafka's is ahead of both by something."""
    return Interval(ledger.low - part.high, ledger.high - part.low)


def _ends(told: Told) -> Sequence[Interval]:
    """Give what the first exchanges say and, if there are others, what the last ones do: the shortest of each."""
    rows: list[list[Interval]] = []
    for (one, stamp_ns), (after, _) in pairwise(told):
        if one.number == 0 or not rows:
            rows.append([])
        if after.number == one.number + 1 and after.before_ns is not None:
            # Stamps are whole milliseconds, cut off.
            rows[-1].append(Interval(stamp_ns - after.before_ns, stamp_ns + MILLISECOND_NS - one.sent_ns))
    found = [min(some, key=lambda one: one.high - one.low) for some in rows if some]
    return [found[0], found[-1]] if len(found) > 1 else found
