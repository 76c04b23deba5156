"""The topics, read once: what was planned, seen, answered and rejected in one run."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consumers.ledger.kept import NONE, Kept, Words
from edgewise import account, split, topics
from edgewise.account import CameraAccount, Closing, Plan, Sounding, unfolded
from edgewise.arrival import bridged_ns
from edgewise.clock import MILLISECOND_NS, SECOND_NS
from edgewise.errors import FrameError
from edgewise.kafka import Record
from edgewise.messages import Tier, decode_frame, result_fields
from edgewise.statistics import Mask
from edgewise.tracing import TRACEPARENT, Context, sampled

FrameKey = tuple[str, int]
"""Camera and number: with the run, a frame's name."""
NEVER: Final = np.iinfo(np.int64).min
"""A moment, in nanoseconds since 1970, that was not."""


def _bridged() -> Kept:
    """Keep each frame's first appearance in Kafka."""
    return Kept(sent_ns="q", bridged_ns="q", appended_ns="q", size_bytes="i")


def _first() -> Kept:
    """Keep each frame's first result in one tier."""
    moments = dict.fromkeys(("due_ns", "sent_ns", "received_ns", "started_ns", "inferred_ns"), "q")
    return Kept(
        image="q",
        label="i",
        score="f",
        **moments,
        appended_ns="q",  # Kafka's stamp of the result, whole milliseconds
        seen_ns="q",  # by the ledger; the stamp if that was before the ledger had caught up
        size_bytes="i",
        result_bytes="i",
        batch="i",
        tasks="i",
        engine="i",
        model="i",
        worker="i",
        stamped="b",  # 1 if the result is timed by Kafka's stamp
        reordered="b",  # 1 if the result came after that of a higher number of the same camera
        copies="i",  # further results of the frame, never counted again
    )


WORDS: Final = ("engine", "model", "worker")
"""Columns that stand for words."""


@dataclass(slots=True)
class TierCount:
    """What one tier gave."""

    first: Kept = field(default_factory=_first)
    words: Mapping[str, Words] = field(default_factory=lambda: {name: Words() for name in WORDS})
    highest: dict[str, int] = field(default_factory=dict)
    """Number of a camera's frames that was answered so far."""


@dataclass(slots=True)
class Collected:
    """One run, as its topics tell it."""

    run: str
    caught_up_ns: int | None = None
    """When the ledger had read all there was for the first time; from then on it sees results as they come."""
    plans: dict[str, Plan] = field(default_factory=dict)
    """By fleet."""
    cameras: dict[str, CameraAccount] = field(default_factory=dict)
    """By camera."""
    closings: dict[tuple[str, str], Closing] = field(default_factory=dict)
    """By part and name."""
    bridged: Kept = field(default_factory=_bridged)
    bridged_bytes: int = 0
    bridged_copies: int = 0
    tiers: dict[Tier, TierCount] = field(default_factory=lambda: {tier: TierCount() for tier in Tier})
    rejections: list[tuple[int, str, str]] = field(default_factory=list)
    """Moment, by whom, rule: of all runs, until the plan says when this one began."""
    split_seed: int | None = None
    """Of the rule by which each frame is owed by one tier; None if every tier owes every frame."""
    trace: Callable[[FrameKey, Context], object] | None = None
    """Told of each frame that is followed."""
    soundings: list[tuple[Sounding, int]] = field(default_factory=list)
    """Each with Kafka's stamp, in the order of their writing."""
    _owned: dict[tuple[Tier, str, int], Mask] = field(init=False, default_factory=dict)

    def add(self, records: Iterable[Record], *, now_ns: int) -> None:
        """Take what was read."""
        for record in records:
            match record.topic:
                case topics.RESULTS:
                    self._result(record, now_ns=now_ns)
                case topics.FRAMES:
                    self._frame(record)
                case topics.RUNS:
                    self._entry(record)
                case topics.REJECTED:
                    said = dict(record.headers)
                    by, rule = ((said.get(name) or b"").decode(errors="replace") for name in ("by", "rule"))
                    self.rejections.append((record.appended_ns, by, rule))

    def _result(self, record: Record, *, now_ns: int) -> None:
        try:
            said = result_fields(record.value)
        except FrameError:
            return  # another program's record: no result of this run
        if said["run"] != self.run:
            return
        tier, camera, number = self.tiers[Tier(said["tier"])], said["camera"], said["number"]
        if (row := tier.first.row(camera, number)) != NONE:
            tier.first.column("copies")[row] += 1
            return
        in_time, highest = self._in_time(record.appended_ns), tier.highest.get(camera, number)
        values = (
            *(said["image"], said["label"], said["score"]),
            *(said["due_ns"], said["sent_ns"], said["received_ns"], said["started_ns"], said["inferred_ns"]),
            *(record.appended_ns, now_ns if in_time else record.appended_ns),
            *(said["size_bytes"], len(record.value), said["batch"], said["tasks"]),
            *(words.code(said[name]) for name, words in tier.words.items()),
            *(not in_time, number < highest, 0),
        )
        with suppress(OverflowError):  # a number that is none of ours
            tier.first.add(camera, number, values)
            tier.highest[camera] = max(highest, number)

    def _frame(self, record: Record) -> None:
        try:
            frame = decode_frame(record.value)
        except FrameError:
            return  # the consumers reject it
        if frame.run != self.run:
            return
        if self.bridged.row(frame.camera, frame.number) != NONE:
            self.bridged_copies += 1
            return
        stamp_ns = bridged_ns(record.headers)
        values = (frame.sent_ns, NEVER if stamp_ns is None else stamp_ns, record.appended_ns, len(record.value))
        with suppress(OverflowError):  # a number that is none of ours
            self.bridged.add(frame.camera, frame.number, values)
            self.bridged_bytes += len(record.value)
            if self.trace is not None and (context := sampled(dict(record.headers).get(TRACEPARENT))) is not None:
                self.trace((frame.camera, frame.number), context)

    def _entry(self, record: Record) -> None:
        entry = account.decode(record.value)
        match entry:
            case Sounding() if entry.run == self.run:
                self.soundings.append((entry, record.appended_ns))
            case Plan() if entry.run == self.run:
                self.plans[entry.fleet] = entry
            case CameraAccount() if entry.run == self.run:
                self.cameras[entry.camera] = entry
            case Closing() if entry.run == self.run:
                self.closings[entry.part, entry.name] = entry

    def _in_time(self, appended_ns: int) -> bool:
        """Say whether the ledger saw a result as it came: before, its clock only says when it came to look."""
        # Stamps are whole milliseconds, cut off.
        return self.caught_up_ns is not None and appended_ns >= self.caught_up_ns - MILLISECOND_NS

    def start_ns(self) -> int:
        """Say when the run's first plan began."""
        return min((plan.start_ns for plan in self.plans.values()), default=0)

    def rejected(self, by: str) -> Counter[str]:
        """Count what one part rejected since the run began, by rule.

        A rejected record names no run (it is no frame), so its moment decides.
        """
        since_ns = self.start_ns() - SECOND_NS
        return Counter(rule for moment_ns, who, rule in self.rejections if who == by and moment_ns >= since_ns)

    def fleets_closed(self) -> bool:
        """Say whether every fleet of the run has written its closing account."""
        return bool(self.plans) and all(("fleet", fleet) in self.closings for fleet in self.plans)

    def sent(self, tier: Tier | None = None) -> int:
        """Count the frames sent, as the cameras' accounts tell it; of one tier, if it is named."""
        if tier is None or self.split_seed is None:
            return sum(last - first + 1 for camera in self.cameras.values() for first, last in camera.sent)
        return sum(
            int((unfolded(said.sent, frames=frames) & self.owned(tier, said.camera, frames=frames)).sum())
            for said, frames in self._accounts()
        )

    def owned(self, tier: Tier, camera: str, *, frames: int) -> Mask:
        """Give a mask over a camera's schedule of the frames that a tier owes a result, if they are sent."""
        asked = (tier, camera, frames)
        if asked not in self._owned:
            self._owned[asked] = split.owned(tier, camera, frames=frames, seed=self.split_seed)
        return self._owned[asked]

    def scheduled(self, tier: Tier) -> int:
        """Count the frames planned that are a tier's."""
        if self.split_seed is None:
            return sum(plan.frames_together() for plan in self.plans.values())
        return sum(
            int(self.owned(tier, plan.camera(index), frames=plan.frames_of(index)).sum())
            for plan in self.plans.values()
            for index in range(plan.cameras)
        )

    def complete(self, tiers: Iterable[Tier]) -> bool:
        """Say whether each of these tiers has a result for every frame sent, and each frame is in Kafka."""
        if not self.fleets_closed():
            return False
        return self._there(self.bridged) and all(self._there(self.tiers[tier].first, tier) for tier in tiers)

    def _there(self, found: Kept, tier: Tier | None = None) -> bool:
        """Say whether as many frames are here as were sent, or as a tier owes of them."""
        sent = self.sent(tier)
        return len(found) >= sent and self.planned(found, tier) >= sent

    def planned(self, found: Kept, tier: Tier | None = None) -> int:
        """Count those of these frames that a plan knows, and that are this tier's if one is named.

        What no fleet was going to send is nobody's frame.
        """
        return sum(int(known.sum()) for _, known in self._planned(found, tier))

    def late_readings(self, tier: Tier) -> int:
        """Count the tier's frames whose first result is timed by Kafka's stamp."""
        stamped = self.tiers[tier].first.numbers("stamped").astype(np.bool_)
        return sum(int(stamped[rows[known]].sum()) for rows, known in self._planned(self.tiers[tier].first, tier))

    def _planned(self, found: Kept, tier: Tier | None) -> Iterator[tuple[NDArray[np.int32], Mask]]:
        """Give the rows of each planned camera's schedule, and which of its frames are there and this tier's."""
        for plan in self.plans.values():
            for index in range(plan.cameras):
                camera, frames = plan.camera(index), plan.frames_of(index)
                rows = found.rows(camera, frames=frames)
                known = rows != NONE
                if tier is not None and self.split_seed is not None:
                    known = known & self.owned(tier, camera, frames=frames)
                yield rows, known

    def of_others(self, tier: Tier) -> int:
        """Count the planned frames that a tier answered and that are another tier's."""
        answered = self.tiers[tier].first
        return self.planned(answered) - self.planned(answered, tier)

    def never_bridged(self) -> int:
        """Count the frames that their cameras call confirmed and that are not in Kafka."""
        lost = 0
        for said, frames in self._accounts():
            there = self.bridged.rows(said.camera, frames=frames) != NONE
            lost += int((unfolded(said.confirmed, frames=frames) & ~there).sum())
        return lost

    def _accounts(self) -> Iterator[tuple[CameraAccount, int]]:
        """Give the account of each planned camera that wrote one, and how many frames it was to send."""
        for plan in self.plans.values():
            for index in range(plan.cameras):
                said = self.cameras.get(plan.camera(index))
                if said is not None:
                    yield said, plan.frames_of(index)
