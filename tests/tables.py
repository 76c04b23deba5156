"""Per-frame tables as a ledger would make them, of as many frames as a rule wants to see, without any record."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from compare.runs.ran import Ran
from consumers.ledger import summary
from consumers.ledger.collect import Collected
from consumers.ledger.columns import Rows, rows
from consumers.ledger.table import SCHEMA, Fate
from edgewise import account, dataset, topics
from edgewise.account import CameraAccount, Closing, Entry, Plan
from edgewise.arrivals import Arrival, Periodic
from edgewise.clock import MILLISECOND_NS
from edgewise.kafka import Record
from edgewise.messages import Codec, Tier
from edgewise.summary import Reason, Summary

RUN: Final = "told"
START_NS: Final = 1_763_000_000_000_000_000
BOTH: Final = (Tier.GATEWAY, Tier.CLUSTER)
FATES: Final = [fate.value for fate in Fate]
MOMENTS: Final = {
    Tier.GATEWAY: (0.5, 0.8, 2.0, 1.0, 1.2, 12.0, 15.0, 20.0),
    Tier.CLUSTER: (0.5, 0.8, 2.0, 150.0, 160.0, 220.0, 240.0, 250.0),
}
"""Milliseconds after due, of each moment below; answers vary by a twentieth."""
NAMES: Final = ("sent", "bridged", "appended", "received", "started", "inferred", "result_appended", "seen")


@dataclass
class Answers:
    """One tier's rows, to be changed as a test likes."""

    moments_ns: dict[str, NDArray[np.int64]]
    fate: NDArray[np.int32]
    right: NDArray[np.bool_]
    copies: NDArray[np.int32]
    engine: str = "keras"
    model: str = "resnet20@0123456789ab"

    def miss(self, which: NDArray[np.bool_], fate: Fate = Fate.UNANSWERED) -> None:
        """Leave frames without an answer."""
        self.fate[which] = FATES.index(fate)

    def shift(self, *names: str, by_s: float) -> None:
        """Put a clock wrong."""
        for name in names:
            self.moments_ns[name] += round(by_s * 1e9)

    def wait(self, ms: NDArray[np.float64]) -> None:
        """Let frames wait before they are taken."""
        for name in NAMES[NAMES.index("received") :]:
            self.moments_ns[name] += (ms * MILLISECOND_NS).astype(np.int64)


@dataclass
class Told:
    """A run of periodic cameras, without a fault until a test makes one: 40 s of 60 frames a second."""

    cameras: int = 4
    rate_hz: float = 15.0
    frames: int = 600
    tiers: Sequence[Tier] = BOTH
    arrival: Arrival = field(default_factory=Periodic)
    split_seed: int | None = None
    accuracy: float = 0.9
    plan: Plan = field(init=False)
    due_ns: NDArray[np.int64] = field(init=False)
    camera: NDArray[np.int32] = field(init=False)
    answers: dict[Tier, Answers] = field(init=False)
    collected: Collected = field(init=False)

    def __post_init__(self) -> None:
        self.plan = Plan(
            run=RUN,
            fleet="yard",
            start_ns=START_NS,
            seed=1,
            cameras=self.cameras,
            rate_hz=self.rate_hz,
            arrival=self.arrival,
            frames=self.frames,
            dataset="cifar10",
            split="test",
            images=10_000,
            dataset_sha256=dataset.SPLITS["test"].sha256,
            codec=Codec.RAW,
            drop_after_s=5,
            version="",
        )
        self.due_ns = np.concatenate([self.plan.due_ns(index) for index in range(self.cameras)])
        self.camera = np.repeat(np.arange(self.cameras, dtype=np.int32), self.frames)
        self.answers = {tier: self._answers(tier) for tier in self.tiers}
        self.collected = Collected(RUN, caught_up_ns=START_NS, split_seed=self.split_seed)
        self.entry(self.plan)
        everything = [(0, self.frames - 1)]
        # None is confirmed, as no frame is in Kafka's topic either.
        for index in range(self.cameras):
            camera = self.plan.camera(index)
            self.entry(
                CameraAccount(run=RUN, camera=camera, sent=everything, confirmed=(), unheard=(), refused=(), dropped=())
            )
        self.entry(Closing(run=RUN, part="fleet", name="yard", summary={}))

    def _answers(self, tier: Tier) -> Answers:
        count = len(self.due_ns)
        vary = np.random.default_rng([1, BOTH.index(tier)]).uniform(0.95, 1.05, count)
        moments_ns = {
            name: self.due_ns + (ms * vary * MILLISECOND_NS).astype(np.int64)
            for name, ms in zip(NAMES, MOMENTS[tier], strict=True)
        }
        for name in ("sent", "bridged", "appended"):  # the same on both tiers
            moments_ns[name] = self.due_ns + round(MOMENTS[tier][NAMES.index(name)] * MILLISECOND_NS)
        return Answers(
            moments_ns,
            np.zeros(count, dtype=np.int32),
            np.diff(np.round(np.arange(count + 1) * self.accuracy)) != 0,
            np.zeros(count, dtype=np.int32),
        )

    @property
    def after_s(self) -> NDArray[np.float64]:
        """When each frame is due, from the first."""
        found: NDArray[np.float64] = (self.due_ns - self.due_ns.min()) / 1e9
        return found

    def entry(self, entry: Entry) -> None:
        """Let the ledger read an entry."""
        record = Record(topics.RUNS, 0, 0, "", account.encode(entry), (), START_NS)
        self.collected.add([record], now_ns=START_NS)

    def table(self) -> pa.Table:
        """Make the table: the rows of one tier, then of the other, each in the order of the frames."""
        return pa.concat_tables([self._rows(tier) for tier in self.tiers]).unify_dictionaries()

    def rows(self, tier: Tier) -> Rows:
        """Give one tier's rows as the rules see them."""
        return rows(self.table(), tier)

    def summary(self, **how: Any) -> Summary:  # noqa: ANN401 - what summary.make takes
        """Have the ledger judge it."""
        return summary.make(self.collected, self.table(), tiers=self.tiers, **how)

    def ran(self, folder: str = "folder", **how: Any) -> Ran:  # noqa: ANN401 - what summary.make takes
        """Give it as one run of several."""
        return Ran(folder, tuple(tier.value for tier in self.tiers), self.summary(**how), frames=self.table)

    def owned(self, tier: Tier) -> NDArray[np.bool_]:
        """Say which frames are a tier's."""
        cameras = [self.plan.camera(index) for index in range(self.cameras)]
        return np.concatenate([self.collected.owned(tier, camera, frames=self.frames) for camera in cameras])

    def _rows(self, tier: Tier) -> pa.Table:
        mine, count = self.answers[tier], len(self.due_ns)
        missing = mine.fate != FATES.index(Fate.ANSWERED)
        cameras = [self.plan.camera(index) for index in range(self.cameras)]
        columns: dict[str, pa.Array] = {
            "run": words(np.zeros(count, dtype=np.int32), [RUN]),
            "camera": words(self.camera, cameras),
            "number": pa.array(np.tile(np.arange(self.frames, dtype=np.int64), self.cameras)),
            "tier": words(np.zeros(count, dtype=np.int32), [tier.value]),
            "fate": words(mine.fate, FATES),
            "image": pa.array(np.zeros(count, dtype=np.int64)),
            "truth": pa.array(np.zeros(count, dtype=np.int32)),
            "label": pa.array((~mine.right).astype(np.int32), mask=missing),
            "correct": pa.array(mine.right, mask=missing),
            "right_image": pa.array(np.ones(count, dtype=np.bool_), mask=missing),
            "latency_ns": pa.array(mine.moments_ns["seen"] - self.due_ns, mask=missing),
            "due_ns": pa.array(self.due_ns),
            "size_bytes": pa.array(np.full(count, 3200)),
            "result_bytes": pa.array(np.full(count, 180), mask=missing),
            "batch": pa.array(np.ones(count, dtype=np.int32), mask=missing),
            "tasks": pa.array(np.ones(count, dtype=np.int32), mask=missing),
            "engine": words(np.zeros(count, dtype=np.int32), [mine.engine], mask=missing),
            "model": words(np.zeros(count, dtype=np.int32), [mine.model], mask=missing),
            "copies": pa.array(np.where(missing, 0, mine.copies).astype(np.int32)),
            "reordered": pa.array(np.zeros(count, dtype=np.bool_)),
        }
        for name, moment_ns in mine.moments_ns.items():
            known_anyway = name in {"sent", "bridged", "appended"}
            columns[f"{name}_ns"] = pa.array(moment_ns, mask=None if known_anyway else missing)
        arrays = [columns.get(one.name, pa.nulls(count, one.type)) for one in SCHEMA]
        return pa.table(arrays, names=SCHEMA.names).cast(SCHEMA).filter(pa.array(self.owned(tier)))


def words(codes: NDArray[np.int32], known: Sequence[str], *, mask: NDArray[np.bool_] | None = None) -> pa.Array:
    """Make a column of words from their numbers."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=mask), pa.array(known))


def causes(found: Summary) -> dict[str, list[str]]:
    """Give each reason's rule, and those that were broken because of it."""
    return {reason.rule: [below.rule for below in reason.consequences] for reason in found.reasons}


def first(found: Summary) -> Reason:
    """Give the cause."""
    assert found.verdict == "INVALID"
    return found.reasons[0]
