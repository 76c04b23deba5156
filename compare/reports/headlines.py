"""The figures that runs are compared in, and what must be the same before they may be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edgewise.summary import TierSummary

ACCURACY: Final = "accuracy"
ON_TIME: Final = "right and on time"
P50: Final = "latency p50"
P99: Final = "latency p99"
Take = Callable[[TierSummary], float | None]


class Depends(StrEnum):
    """What a figure depends on, besides the run being VALID and the model the same."""

    LOAD = "load"
    """When which frames were due."""
    IMAGES = "images"
    """What was to be seen on them."""
    DEADLINE = "deadline"
    """By when an answer was on time."""


@dataclass(frozen=True, slots=True)
class Headline:
    """A figure that runs are compared in."""

    name: str
    unit: str
    take: Take
    """Where it stands in a tier's summary."""
    more_is_better: bool = False
    repeated: bool = True
    """Whether the repeats of a scenario are compared in it, too; otherwise it is for two runs alone."""
    column: str = ""
    """How a sweep's column of it is headed; empty if it has none."""
    depends: Sequence[Depends] = ()
    """What must be the same before two runs are compared in it."""


LOAD: Final = (Depends.LOAD,)
IMAGES: Final = (Depends.IMAGES,)
HEADLINES: Final[Sequence[Headline]] = (
    Headline(P50, "ms", lambda tier: tier.latency_ms.p50, column="p50 ms", depends=LOAD),
    Headline("latency p90", "ms", lambda tier: tier.latency_ms.p90, repeated=False, depends=LOAD),
    Headline(P99, "ms", lambda tier: tier.latency_ms.p99, column="p99 ms", depends=LOAD),
    Headline(
        ON_TIME,
        "%",
        lambda tier: _percent(tier.on_time),
        more_is_better=True,
        column="on time %",
        depends=tuple(Depends),
    ),
    Headline(
        ACCURACY,
        "%",
        lambda tier: _percent(tier.accuracy),
        more_is_better=True,
        column="accuracy %",
        depends=IMAGES,
    ),
    Headline(
        "throughput",
        "results/s",
        lambda tier: tier.throughput_hz,
        more_is_better=True,
        repeated=False,
        depends=LOAD,
    ),
    Headline(
        "CPU for 1,000 right",
        "s",
        lambda tier: tier.per_1000_correct.cpu_s,
        column="CPU s/1,000 right",
        depends=(*LOAD, *IMAGES),
    ),
    Headline(
        "uplink for 1,000 right",
        "MB",
        lambda tier: _megabytes(tier.per_1000_correct.uplink_bytes),
        depends=IMAGES,
    ),
)
FIGURES: Final = tuple(one for one in HEADLINES if one.repeated)
"""Of a comparison."""


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100


def _megabytes(size_bytes: float | None) -> float | None:
    return None if size_bytes is None else size_bytes / 1e6
