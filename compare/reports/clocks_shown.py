"""What is known of the parts' clocks, for people: how far they are apart, and what is too short for that."""

from collections.abc import Iterator, Mapping
from typing import Final

from edgewise.summary import PartClock, Summary

STEPS: Final[Mapping[str, tuple[str, ...]]] = {"transport": ("fleet", "tier"), "result": ("tier",)}
"""Steps that begin by one part's clock and end by another's: whose, beside the ledger's."""
SHARE: Final = 0.1
"""Of a step's median: a larger error of the clocks is said."""


def said(summary: Summary) -> Iterator[str]:
    """Say how far the clocks are from the ledger's, and which steps are shorter than what that leaves open."""
    if not summary.clocks:
        return
    same = [part for part, one in summary.clocks.items() if one.same_machine]
    parts = [f"{', '.join(same)}: same machine, same clock"] if same else []
    parts += [f"{part}: {_off(one)}" for part, one in summary.clocks.items() if not one.same_machine]
    yield f"Clocks beside the ledger's: {'; '.join(parts)}."
    if short := [f"{step} of the {tier}" for tier, step in unresolved(summary)]:
        yield f"Below clock resolution (the clocks' error is more than a tenth of it): {', '.join(short)}."


def unresolved(summary: Summary) -> Iterator[tuple[str, str]]:
    """Give the tiers' steps that are shorter than ten times the error of the clocks they are read from."""
    for name, tier in summary.tiers.items():
        for step, whose in STEPS.items():
            error_ms = sum(_worst_ms(summary, name if part == "tier" else part) for part in whose)
            median_ms = tier.latency_stages_ms.get(step)
            if median_ms is not None and error_ms > SHARE * median_ms:
                yield name, step


def _worst_ms(summary: Summary, part: str) -> float:
    """Give the largest error that the clock of one of a kind may have: there may be several fleets, or gateways."""
    of_kind = (one for name, one in summary.clocks.items() if name.split()[0] == part)
    return max((one.bound_ms or 0.0 for one in of_kind), default=0.0)


def _off(one: PartClock) -> str:
    if one.offset_ms is None or one.bound_ms is None:
        return "not known"
    return f"{one.offset_ms:+.1f} ms, give or take {one.bound_ms:.1f}"
