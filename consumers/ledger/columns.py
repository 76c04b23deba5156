"""One tier's rows as arrays: what every rule counts, taken out of the table once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consumers.ledger.collect import NEVER
from consumers.ledger.table import NOT_SENT, Fate
from edgewise.clock import MILLISECOND_NS
from edgewise.messages import Tier
from edgewise.statistics import Floats, Mask

Moments = NDArray[np.int64]
"""Nanoseconds since 1970; ``NEVER`` where it did not happen."""
Each = TypeVar("Each")


@dataclass(frozen=True, slots=True)
class Rows:
    """All frames that are one tier's, in the table's order, which is the same for each tier."""

    tier: Tier
    table: pa.Table
    """The columns that are no arrays here."""
    due_ns: Moments
    sent_ns: Moments
    seen_ns: Moments
    answered: Mask
    owed: Mask
    """Sent, as far as anybody knows: the tier owes a result."""
    correct: Mask
    """Answered and right."""
    latency_ms: Floats
    """From due to seen; infinite where there is no answer."""

    @property
    def start_ns(self) -> int:
        """Say when the first frame was due; 0 if there are none."""
        return int(self.due_ns.min()) if len(self.due_ns) else 0

    @property
    def span_s(self) -> float:
        """Seconds from the first frame due to the last."""
        return float(np.ptp(self.due_ns)) / 1e9 if len(self.due_ns) else 0.0

    def moments(self, name: str) -> Moments:
        """Give any column of moments."""
        return moments(self.table[name])

    def codes(self, name: str) -> tuple[NDArray[np.int32], list[str]]:
        """Give a column of words as numbers, -1 where there is none, and the words they stand for."""
        column = self.table[name].unify_dictionaries()
        if not column.num_chunks:
            return np.empty(0, dtype=np.int32), []
        whole = pa.chunked_array([chunk.indices for chunk in column.chunks])
        return np.asarray(whole.fill_null(-1), dtype=np.int32), column.chunk(0).dictionary.to_pylist()


def rows(table: pa.Table, tier: Tier) -> Rows:
    """Take one tier's rows."""
    mine = table.filter(pc.equal(table["tier"], tier.value))
    answered = mask(pc.equal(mine["fate"], Fate.ANSWERED.value))
    not_sent = pc.is_in(mine["fate"].cast(pa.string()), value_set=pa.array([fate.value for fate in NOT_SENT]))
    due_ns, seen_ns = moments(mine["due_ns"]), moments(mine["seen_ns"])
    return Rows(
        tier=tier,
        table=mine,
        due_ns=due_ns,
        sent_ns=moments(mine["sent_ns"]),
        seen_ns=seen_ns,
        answered=answered,
        owed=~mask(not_sent),
        correct=mask(mine["correct"]),
        latency_ms=np.where(answered, (seen_ns - due_ns) / MILLISECOND_NS, np.inf),
    )


def moments(column: pa.ChunkedArray) -> Moments:
    """Give a column of moments."""
    return np.asarray(column.fill_null(NEVER), dtype=np.int64)


def mask(column: pa.ChunkedArray) -> Mask:
    """Give a column of yes and no; what is not known is no."""
    return np.asarray(column.fill_null(False), dtype=np.bool_)  # noqa: FBT003 - Arrow's own signature


def measured(found: Rows, *, from_ns: int) -> Mask:
    """Say which frames latencies are of: due from a moment on, and sent."""
    return found.owed & (found.due_ns >= from_ns)


def each_once(tiers: Sequence[Each], *, split: bool) -> Sequence[Each]:
    """Give rows that have each frame once: any tier's, or every tier's where each has frames of its own."""
    return tiers if split else tiers[:1]


def first_due_ns(tiers: Sequence[Rows]) -> int:
    """Say when the first frame of a run was due."""
    return min((found.start_ns for found in tiers), default=0)
