"""The reasons of a verdict in their order: first the cause, and under it what followed from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgewise.summary import Reason


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that was broken, and which others would be broken because of it."""

    reason: Reason
    explains: frozenset[str] = frozenset()
    """Names of rules; those that were not broken do not matter."""


Found = Iterator[Broken]
"""What a rule gives: nothing if it holds."""


def arranged(found: Sequence[Broken]) -> list[Reason]:
    """Put each broken rule under the one that explains it, directly or by way of another; keep the order otherwise.

    Of two that explain one another the first is the cause.
    """
    by_name = {one.reason.rule: place for place, one in enumerate(found)}
    over: dict[int, int] = {}
    for place, one in enumerate(found):
        for name in sorted(one.explains & set(by_name)):
            below = by_name[name]
            if below not in over and _top(place, over) != below:
                over[below] = place
    below_top: dict[int, list[Reason]] = {}
    for place, one in enumerate(found):
        if place in over:
            below_top.setdefault(_top(place, over), []).append(one.reason)
    return [
        one.reason.model_copy(update={"consequences": below_top.get(place, [])})
        for place, one in enumerate(found)
        if place not in over
    ]


def _top(place: int, over: dict[int, int]) -> int:
    while place in over:
        place = over[place]
    return place
