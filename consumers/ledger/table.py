"""One row a frame and tier that owes it: what was planned, what happened, and where a missing frame was last seen."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from consumers.ledger.collect import Collected
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

FILE: Final = "frames.parquet"
"""The table's name in a run's folder."""

ROWS_AT_ONCE: Final = 20_000
"""As many are held as Python's dicts, of about 1 kB each; in the table a row takes a sixth of that."""

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


def make(collected: Collected, *, tiers: Sequence[Tier], truth: Truth, rows_at_once: int = ROWS_AT_ONCE) -> pa.Table:
    """Build the table, piece by piece: a row takes far more room as a dict."""
    rows = _rows(collected, tiers=tiers, truth=truth)
    pieces = [SCHEMA.empty_table()]
    while some := list(islice(rows, rows_at_once)):
        pieces.append(pa.Table.from_pylist(some, schema=SCHEMA))
    return pa.concat_tables(pieces[1:] or pieces).unify_dictionaries()


def write(table: pa.Table, path: Path) -> None:
    """Write the table as Parquet.

    Raises:
        MissingError: the disk does not take it.
    """
    try:
        pq.write_table(table, path, compression="zstd")
    except OSError as error:
        raise MissingError(f"{path} cannot be written: {error}; free some space or choose another --out") from error


def _rows(collected: Collected, *, tiers: Sequence[Tier], truth: Truth) -> Iterator[dict[str, Any]]:
    for plan in collected.plans.values():
        for index in range(plan.cameras):
            yield from _camera_rows(collected, plan, index, tiers=tiers, truth=truth)


def _camera_rows(
    collected: Collected, plan: Plan, index: int, *, tiers: Sequence[Tier], truth: Truth
) -> Iterator[dict[str, Any]]:
    camera, labels = plan.camera(index), truth.labels(plan)
    sources = _Sources(collected.cameras.get(camera), frames=plan.frames_of(index))
    owed_by = [(tier, collected.owned(tier, camera, frames=plan.frames_of(index))) for tier in tiers]
    schedule = zip(plan.due_ns(index).tolist(), plan.image(index).tolist(), strict=True)
    for number, (due_ns, image) in enumerate(schedule):
        bridged = collected.bridged.get((camera, number))
        row: dict[str, Any] = {
            "run": plan.run,
            "camera": camera,
            "number": number,
            "image": image,
            "truth": None if labels is None else int(labels[image]),
            "due_ns": due_ns,
        }
        if bridged is not None:
            row |= {
                "sent_ns": bridged.sent_ns,
                "bridged_ns": bridged.bridged_ns,
                "appended_ns": bridged.appended_ns,
                "size_bytes": bridged.size_bytes,
            }
        unanswered = sources.last_seen(number, bridged=bridged is not None)
        for tier in (one for one, owed in owed_by if owed[number]):
            yield row | {"tier": tier.value} | _answered(collected, tier, (camera, number), row, unanswered)


def _answered(
    collected: Collected, tier: Tier, key: tuple[str, int], row: dict[str, Any], unanswered: Fate
) -> dict[str, Any]:
    """Give the columns that one tier adds to a frame."""
    count = collected.tiers[tier]
    answer = count.first.get(key)
    if answer is None:
        return {"fate": unanswered.value, "copies": 0, "reordered": False}
    result, right_image = answer.result, answer.result.image == row["image"]
    return {
        "fate": Fate.ANSWERED.value,
        "label": result.label,
        "score": result.score,
        "correct": None if row["truth"] is None else right_image and result.label == row["truth"],
        "right_image": right_image,
        "latency_ns": answer.seen_ns - row["due_ns"],
        "sent_ns": result.sent_ns,
        "received_ns": result.received_ns,
        "started_ns": result.started_ns,
        "inferred_ns": result.inferred_ns,
        "result_appended_ns": answer.appended_ns,
        "seen_ns": answer.seen_ns,
        "size_bytes": result.size_bytes,
        "result_bytes": answer.size_bytes,
        "batch": result.batch,
        "tasks": result.tasks,
        "engine": result.engine,
        "model": result.model,
        "worker": result.worker,
        "copies": count.copies[key],
        "reordered": key in count.late_numbers,
    }


class _Sources:
    """What a camera said of its frames."""

    def __init__(self, said: CameraAccount | None, *, frames: int) -> None:
        self._there = said is not None
        if said is not None:
            self._sent, self._confirmed, self._unheard, self._refused, self._dropped = (
                unfolded(folded, frames=frames)
                for folded in (said.sent, said.confirmed, said.unheard, said.refused, said.dropped)
            )

    def last_seen(self, number: int, *, bridged: bool) -> Fate:
        """Say how far a frame without a result came."""
        if bridged:
            return Fate.UNANSWERED
        if not self._there:
            return Fate.NO_ACCOUNT
        for mask, fate in (
            (self._dropped, Fate.DROPPED),
            (self._confirmed, Fate.UNBRIDGED),
            (self._unheard, Fate.UNHEARD),
            (self._refused, Fate.REFUSED),
        ):
            if mask[number]:
                return fate
        return Fate.UNCONFIRMED
