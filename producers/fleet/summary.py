"""What a fleet did, in numbers: of each group, and of all of them together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType

from edgewise import show
from edgewise.clock import MILLISECOND_NS
from producers.camera.tally import Tally
from producers.fleet.settings import Group
from producers.fleet.share import Account, Spent

ALL: Final = "all"
COUNTS: Final = ("scheduled", "sent", "confirmed", "unheard", "refused", "dropped_at_source")
LATENESS: Final = ("p50", "p99", "max")


@dataclass(frozen=True, slots=True)
class Summary:
    """The accounts of a fleet's groups."""

    groups: Mapping[str, dict[str, Any]]
    """Of each, what stands in its closing account ..."""
    whole: Mapping[str, Any]
    """... and the same of all together."""
    cost: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Give it for programs: the same keys for one group as for many."""
        return {**self.whole, **self.cost, "groups": self.groups}

    def tables(self) -> Iterator[RenderableType]:
        """Lay it out for people."""
        rows = [*self.groups.items(), *([(ALL, self.whole)] if len(self.groups) > 1 else [])]
        frames = show.grid("group", numbers=tuple(name.replace("_", " ") for name in COUNTS))
        for name, counts in rows:
            frames.add_row(name, *(show.count(counts[one]) for one in COUNTS))
        yield from show.titled("Frames", frames)
        left = show.grid("group", "codec", "bottleneck", numbers=("p50 ms", "p99 ms", "max ms", "connections lost"))
        for name, counts in rows:
            late = (show.cell(counts["lateness_ms"][one], digits=3) for one in LATENESS)
            bottleneck = "the cameras" if counts["bottleneck"] else "no"
            lost = show.count(counts["connections_lost"])
            left.add_row(name, counts.get("codec", ""), bottleneck, *late, lost)
        why = [
            f"{name}: {counts['bottleneck_why']}" for name, counts in self.groups.items() if counts["bottleneck_why"]
        ]
        cost = f"CPU {self.cost['cpu_s']:,.2f} s, memory {show.megabytes(self.cost['memory_bytes'])} MB."
        yield from show.titled("Left after they were due", left, *why, cost)


def summed(groups: Sequence[Group], spent: Sequence[Spent]) -> Summary:
    """Add up what the processes did."""
    by_group = {
        group.name: [one for share in spent for one in share.accounts if one.group == group.name] for group in groups
    }
    return Summary(
        groups={
            group.name: _counted(by_group[group.name]) | {"codec": group.codec.value, **group.unlike_ideal()}
            for group in groups
        },
        whole=_counted([one for accounts in by_group.values() for one in accounts]),
        cost={
            "cpu_s": round(sum(share.cpu_s for share in spent), 3),
            "memory_bytes": sum(share.memory_bytes for share in spent),
        },
    )


def _counted(accounts: Sequence[Account]) -> dict[str, Any]:
    tally = sum((one.tally for one in accounts), start=Tally())
    late_ns = np.concatenate([one.late_ns for one in accounts] or [np.empty(0, np.int64)])
    bottleneck, why = tally.bottleneck()
    return {
        **tally.counts(),
        "lateness_ms": lateness(late_ns / MILLISECOND_NS),
        "bottleneck": bottleneck,
        "bottleneck_why": why,
    }


def lateness(late_ms: NDArray[np.float64]) -> dict[str, float | None]:
    """Sum up how late frames left: exact percentiles, None where nothing was sent."""
    if not late_ms.size:
        return dict.fromkeys(LATENESS)
    p50, p99 = np.percentile(late_ms, [50, 99], method="higher")
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(late_ms.max()), 3)}
