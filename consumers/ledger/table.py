"""One row a frame and tier that owes it: what was planned, what happened, and where a missing frame was last seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from consumers.ledger.collect import NEVER, Collected
from consumers.ledger.kept import NONE, Kept
from consumers.ledger.truth import Truth
from edgewise.account import CameraAccount, Plan, unfolded
from edgewise.errors import MissingError
from edgewise.messages import Tier


class Fate(StrEnum):
    """What became of a frame in one tier: answered, or the last place where it was seen."""

    ANSWERED = "answered"
    DROPPED = "dropped at source"
    NO_ACCOUNT = "scheduled, the camera gave no account"
    REFUSED = "refused by the MQTT broker"
    UNHEARD = "sent, nobody subscribed"
    UNCONFIRMED = "sent, never confirmed"
    UNBRIDGED = "confirmed, never bridged"
    UNANSWERED = "bridged, no result"


NOT_SENT: Final = frozenset({Fate.DROPPED})
"""Frames that no tier owes a result."""

FATES: Final = [fate.value for fate in Fate]
"""In the order of their numbers here."""

FILE: Final = "frames.parquet"
"""The table's name in a run's folder."""

SCHEMA: Final = pa.schema(
    [
        pa.field("run", pa.dictionary(pa.int32(), pa.string())),
        pa.field("camera", pa.dictionary(pa.int32(), pa.string())),
        pa.field("number", pa.int64()),
        pa.field("tier", pa.dictionary(pa.int32(), pa.string())),
        pa.field("fate", pa.dictionary(pa.int32(), pa.string())),
        pa.field("image", pa.int64()),
        pa.field("truth", pa.int32()),
        pa.field("label", pa.int32()),
        pa.field("score", pa.float32()),
        pa.field("correct", pa.bool_()),
        pa.field("right_image", pa.bool_()),
        pa.field("latency_ns", pa.int64()),
        pa.field("due_ns", pa.int64()),
        pa.field("sent_ns", pa.int64()),
        pa.field("bridged_ns", pa.int64()),
        pa.field("appended_ns", pa.int64()),
        pa.field("received_ns", pa.int64()),
        pa.field("started_ns", pa.int64()),
        pa.field("inferred_ns", pa.int64()),
        pa.field("result_appended_ns", pa.int64()),
        pa.field("seen_ns", pa.int64()),
        pa.field("size_bytes", pa.int64()),
        pa.field("result_bytes", pa.int64()),
        pa.field("batch", pa.int32()),
        pa.field("tasks", pa.int32()),
        pa.field("engine", pa.dictionary(pa.int32(), pa.string())),
        pa.field("model", pa.dictionary(pa.int32(), pa.string())),
        pa.field("worker", pa.dictionary(pa.int32(), pa.string())),
        pa.field("copies", pa.int32()),
        pa.field("reordered", pa.bool_()),
    ]
)
"""Nanoseconds since 1970, null where it did not happen; latency is seen_ns - due_ns.

Truth is null where the plan's data set is not ours. An answer to another image than the plan's is not correct.
"""


def make(collected: Collected, *, tiers: Sequence[Tier], truth: Truth) -> pa.Table:
    """Build the table: the rows of one tier, then of the next, each camera by camera in the order of its frames."""
    cameras = [_Camera.of(collected, plan, index) for plan in collected.plans.values() for index in range(plan.cameras)]
    pieces = [_rows(collected, cameras, tier, truth=truth) for tier in tiers if cameras]
    return pa.concat_tables(pieces or [SCHEMA.empty_table()]).unify_dictionaries()


def write(table: pa.Table, path: Path) -> None:
    """Write the table as Parquet.

    Raises:
        MissingError: the disk does not take it.
    """
    try:
        pq.write_table(table, path, compression="zstd")
    except OSError as error:
        raise MissingError(f"{path} cannot be written: {error}; free some space or choose another --out") from error


@dataclass(frozen=True, slots=True)
class _Camera:
    """A camera's schedule, and how far each frame of it came that has no result."""

    name: str
    plan: Plan
    index: int
    bridged: NDArray[np.int32]
    """Row of each frame's first appearance in Kafka."""
    last_seen: NDArray[np.int32]
    """Place of its fate among all."""

    @classmethod
    def of(cls, collected: Collected, plan: Plan, index: int) -> Self:
        """Put together what the run's topics tell of a camera."""
        name, frames = plan.camera(index), plan.frames_of(index)
        bridged = collected.bridged.rows(name, frames=frames)
        last_seen = _last_seen(collected.cameras.get(name), frames=frames)
        last_seen[bridged != NONE] = FATES.index(Fate.UNANSWERED)
        return cls(name, plan, index, bridged, last_seen)


def _last_seen(said: CameraAccount | None, *, frames: int) -> NDArray[np.int32]:
    """Say how far each frame of a camera came that is not in Kafka."""
    if said is None:
        return np.full(frames, FATES.index(Fate.NO_ACCOUNT), dtype=np.int32)
    found = np.full(frames, FATES.index(Fate.UNCONFIRMED), dtype=np.int32)
    # What comes later counts: a frame may be refused at first and confirmed then.
    for folded, fate in (
        (said.refused, Fate.REFUSED),
        (said.unheard, Fate.UNHEARD),
        (said.confirmed, Fate.UNBRIDGED),
        (said.dropped, Fate.DROPPED),
    ):
        found[unfolded(folded, frames=frames)] = FATES.index(fate)
    return found


def _rows(collected: Collected, cameras: Sequence[_Camera], tier: Tier, *, truth: Truth) -> pa.Table:
    """Give the rows of all frames that a tier owes."""
    count = collected.tiers[tier]
    owed = [collected.owned(tier, one.name, frames=len(one.bridged)) for one in cameras]

    def together(each: Callable[[_Camera], NDArray[Any]]) -> NDArray[Any]:
        """Put one array of each camera one after the other, of the frames that are owed."""
        return np.concatenate([each(one)[mine] for one, mine in zip(cameras, owed, strict=True)])

    answers = together(lambda one: count.first.rows(one.name, frames=len(one.bridged)))
    bridged, image = together(lambda one: one.bridged), together(lambda one: one.plan.image(one.index))
    due_ns = together(lambda one: one.plan.due_ns(one.index))
    true = together(lambda one: _truth(one, truth))
    of_camera = np.repeat(np.arange(len(cameras), dtype=np.int32), [int(mine.sum()) for mine in owed])
    answered = answers != NONE
    first, seen = _Column(count.first, answers), _Column(collected.bridged, bridged)
    right_image = first.numbers("image", absent=NONE) == image
    label = first.numbers("label", absent=NONE)
    columns = {
        "run": _words(np.zeros(len(answers), dtype=np.int32), [collected.run]),
        "camera": _words(of_camera, [one.name for one in cameras]),
        "number": together(lambda one: np.arange(len(one.bridged))),
        "tier": _words(np.zeros(len(answers), dtype=np.int32), [tier.value]),
        "fate": _words(
            np.where(answered, FATES.index(Fate.ANSWERED), together(lambda one: one.last_seen)).astype(np.int32), FATES
        ),
        "image": image,
        "truth": _known(true, true != NONE),
        "correct": _known(right_image & (label == true), answered & (true != NONE)),
        "right_image": _known(right_image, answered),
        "latency_ns": _known(first.numbers("seen_ns") - due_ns, answered),
        "due_ns": due_ns,
        # What the result says of its frame comes before what Kafka has of it.
        "sent_ns": first.or_else("sent_ns", seen),
        "size_bytes": first.or_else("size_bytes", seen),
        "bridged_ns": seen.known("bridged_ns"),
        "appended_ns": seen.known("appended_ns"),
        "result_appended_ns": first.known("appended_ns"),
        "copies": first.numbers("copies"),
        "reordered": first.numbers("reordered").astype(np.bool_),
    }
    columns |= {name: _words(first.numbers(name, absent=NONE), words.words()) for name, words in count.words.items()}
    columns |= {name: first.known(name) for name in SCHEMA.names if name not in columns}
    return pa.table({field.name: pa.array(columns[field.name], type=field.type) for field in SCHEMA}, schema=SCHEMA)


def _truth(one: _Camera, truth: Truth) -> NDArray[np.int32]:
    """Give the true classes of a camera's images; NONE where the data set is not ours."""
    labels, image = truth.labels(one.plan), one.plan.image(one.index)
    return np.full(len(image), NONE, dtype=np.int32) if labels is None else labels[image].astype(np.int32)


class _Column:
    """What was kept of frames, frame by frame."""

    def __init__(self, kept: Kept, rows: NDArray[np.int32]) -> None:
        self._kept, self._rows = kept, rows
        self.there = rows != NONE
        """Whether there is a record of each."""

    def numbers(self, name: str, *, absent: int = 0) -> NDArray[Any]:
        """Give a column; ``absent`` where there is no record."""
        found = self._kept.numbers(name)
        return (
            np.where(self.there, found[self._rows], np.array(absent, found.dtype))
            if len(found)
            else (np.full(len(self._rows), absent, dtype=found.dtype))
        )

    def known(self, name: str) -> pa.Array:
        """Give a column; null where there is no record, or no such moment."""
        numbers = self.numbers(name)
        return _known(numbers, self.there & (numbers != NEVER))

    def or_else(self, name: str, other: "_Column") -> pa.Array:
        """Give a column; the other's where there is no record."""
        numbers = np.where(self.there, self.numbers(name), other.numbers(name))
        return _known(numbers, self.there | other.there)


def _known(numbers: NDArray[Any], known: NDArray[np.bool_]) -> pa.Array:
    return pa.array(numbers, mask=~known)


def _words(codes: NDArray[Any], words: Sequence[str]) -> pa.Array:
    """Give words by their places; null where that is NONE."""
    return pa.DictionaryArray.from_arrays(_known(codes, codes != NONE), pa.array(words, type=pa.string()))
