"""What a run says, in sentences: the same ones on the terminal and on the page."""

from collections.abc import Iterator
from typing import Final

from compare.reports import clocks_shown
from edgewise.show import NOT_MEASURED, cell, count, interval, percent
from edgewise.summary import Difference, Summary

SPLIT: Final = "Each frame went to one tier (split): the tiers are compared on different frames."
CO_LOCATED: Final = "co-located: the tiers shared these cores, so no winner is named."
NOT_KNOWN: Final = "Whether the tiers shared cores is not known, so no winner is named."
REPEATS: Final = "a win needs at least three, whose intervals do not overlap"


def answer(summary: Summary) -> list[str]:
    """Give what the run says, in a sentence or two."""
    if summary.verdict != "VALID":
        return [
            "None: this run is INVALID and its numbers must not be used.",
            "They stand below only to show what went wrong.",
        ]
    right = ", ".join(f"{name} {_share(tier.accuracy)}" for name, tier in summary.tiers.items())
    both = summary.paired
    if summary.split_seed is not None:
        return [SPLIT, *placed(summary), f"Accuracy: {right}."]
    if both is None:
        return [f"One tier ran alone, so there is none to compare it with. Accuracy: {right}."]
    same = (
        f"Of the {count(both.frames)} frames that both tiers answered, {_share(both.agreement)} got the same label "
        f"from both; accuracy: {right}."
    )
    # Whether both answer alike stands before how fast either is.
    return [same, *(placed(summary) or [_first(both.latency_difference_ms)])]


def placed(summary: Summary) -> list[str]:
    """Say why no tier may be called faster, if that is because of where they ran."""
    if len(summary.tiers) < 2 or summary.co_located is False:  # noqa: PLR2004 - a comparison needs two
        return []
    return [CO_LOCATED if summary.co_located else NOT_KNOWN]


def _first(later_ms: Difference) -> str:
    """Say which tier's answer to the same frame came first."""
    if later_ms.p50 is None:
        return "Too few frames were answered by both tiers to say which was faster."
    within = later_ms.p50_interval
    sure = f" (95 % interval of the median difference: {interval(within)} ms)"
    if later_ms.p50 == 0 or (within is not None and within.low <= 0 <= within.high):
        return f"Neither tier was faster{sure if within else ''}."
    first, second = ("gateway", "cluster") if later_ms.p50 > 0 else ("cluster", "gateway")
    return (
        f"In this run the {first} was faster: of the same frames, half had its answer {cell(abs(later_ms.p50))} ms "
        f"or more before the {second}'s{sure if within else ''}. One run proves little: {REPEATS}."
    )


def latency_notes(summary: Summary) -> Iterator[str]:
    """Say what the percentiles mean."""
    yield "Missing frames are infinitely late. n/a: too few samples (p99 needs 459, p99.9 needs 4,603), or infinite."
    if (warm := summary.warm_up) is not None:
        how = "then three windows in a row agreed" if warm.stable else "no three windows in a row ever agreed"
        yield (
            f"Without the warm-up: {count(warm.frames)} frames due in the first {cell(warm.lasted_s)} s; {how} "
            f"(windows of {cell(warm.window_s)} s)."
        )
    for name, tier in summary.tiers.items():
        if tier.late_readings:
            yield (
                f"{name}: {tier.late_readings:,} results were timed by Kafka's append stamp (whole ms), "
                "as the ledger had not caught up."
            )
    if (both := summary.paired) is not None:
        later = both.latency_difference_ms
        frames = both.frames if both.measured is None else both.measured
        sure = "" if later.p50_interval is None else f" (95 %: {interval(later.p50_interval)})"
        yield (
            f"Of the same frame, cluster minus gateway ({count(frames)} frames): "
            f"p50 {_ms(later.p50)}{sure}, p90 {_ms(later.p90)}."
        )
    yield from clocks_shown.said(summary)


def _share(share: float | None) -> str:
    return NOT_MEASURED if share is None else f"{percent(share)} %"


def _ms(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:,.1f} ms"
