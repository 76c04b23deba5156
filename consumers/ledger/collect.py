"""The topics, read once: what was planned, seen, answered and rejected in one run."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from edgewise import account, split, topics
from edgewise.account import CameraAccount, Closing, Plan, unfolded
from edgewise.arrival import bridged_ns
from edgewise.clock import MILLISECOND_NS, SECOND_NS
from edgewise.errors import FrameError
from edgewise.kafka import Record
from edgewise.messages import Result, Tier, decode_frame, decode_result
from edgewise.statistics import Mask

FrameKey = tuple[str, int]
"""Camera and number: with the run, a frame's name."""


@dataclass(frozen=True, slots=True)
class Bridged:
    """The first appearance of a frame in Kafka."""

    sent_ns: int
    bridged_ns: int | None
    appended_ns: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The first result of a frame in one tier."""

    result: Result
    appended_ns: int
    """Kafka's append stamp of the result, whole milliseconds."""
    seen_ns: int
    """When the ledger saw it; the append stamp if that was before the ledger had caught up."""
    size_bytes: int
    """Of the result as it travelled."""


@dataclass(slots=True)
class TierCount:
    """What one tier gave."""

    first: dict[FrameKey, Answer] = field(default_factory=dict)
    copies: Counter[FrameKey] = field(default_factory=Counter)
    """Further results of frames that had one: duplicates, never counted again."""
    late_numbers: set[FrameKey] = field(default_factory=set)
    """Frames whose result came after that of a higher number of the same camera."""
    stamped: set[FrameKey] = field(default_factory=set)
    """Frames whose result is timed by Kafka's append stamp."""
    highest: dict[str, int] = field(default_factory=dict)


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
    bridged: dict[FrameKey, Bridged] = field(default_factory=dict)
    bridged_copies: int = 0
    tiers: dict[Tier, TierCount] = field(default_factory=lambda: {tier: TierCount() for tier in Tier})
    rejections: list[tuple[int, str, str]] = field(default_factory=list)
    """Moment, by whom, rule: of all runs, until the plan says when this one began."""
    split_seed: int | None = None
    """Of the rule by which each frame is owed by one tier; None if every tier owes every frame."""
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
            result = decode_result(record.value)
        except FrameError:
            return  # another program's record: no result of this run
        if result.run != self.run:
            return
        tier, key = self.tiers[result.tier], (result.camera, result.number)
        if key in tier.first:
            tier.copies[key] += 1
            return
        in_time = self._in_time(record.appended_ns)
        seen_ns = now_ns if in_time else record.appended_ns
        tier.first[key] = Answer(result, record.appended_ns, seen_ns, len(record.value))
        if not in_time:
            tier.stamped.add(key)
        if result.number < tier.highest.setdefault(result.camera, result.number):
            tier.late_numbers.add(key)
        else:
            tier.highest[result.camera] = result.number

    def _frame(self, record: Record) -> None:
        try:
            frame = decode_frame(record.value)
        except FrameError:
            return  # the consumers reject it
        if frame.run != self.run:
            return
        key = (frame.camera, frame.number)
        if key in self.bridged:
            self.bridged_copies += 1
            return
        self.bridged[key] = Bridged(frame.sent_ns, bridged_ns(record.headers), record.appended_ns, len(record.value))

    def _entry(self, record: Record) -> None:
        entry = account.decode(record.value)
        match entry:
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

    def _there(self, found: Collection[FrameKey], tier: Tier | None = None) -> bool:
        """Say whether as many frames are here as were sent, or as a tier owes of them."""
        sent = self.sent(tier)
        return len(found) >= sent and self.planned(found, tier) >= sent

    def planned(self, found: Collection[FrameKey], tier: Tier | None = None) -> int:
        """Count those of these frames that a plan knows, and that are this tier's if one is named.

        What no fleet was going to send is nobody's frame.
        """
        frames = {
            plan.camera(index): plan.frames_of(index) for plan in self.plans.values() for index in range(plan.cameras)
        }
        known = (key for key in found if 0 <= key[1] < frames.get(key[0], 0))
        if tier is None or self.split_seed is None:
            return sum(1 for _ in known)
        return sum(bool(self.owned(tier, camera, frames=frames[camera])[number]) for camera, number in known)

    def of_others(self, tier: Tier) -> int:
        """Count the planned frames that a tier answered and that are another tier's."""
        answered = self.tiers[tier].first
        return self.planned(answered) - self.planned(answered, tier)

    def never_bridged(self) -> int:
        """Count the frames that their cameras call confirmed and that are not in Kafka."""
        numbers: dict[str, set[int]] = {}
        for camera, number in self.bridged:
            numbers.setdefault(camera, set()).add(number)
        lost = 0
        for said, frames in self._accounts():
            confirmed = unfolded(said.confirmed, frames=frames)
            there = [number for number in numbers.get(said.camera, ()) if number < frames]
            confirmed[there] = False
            lost += int(confirmed.sum())
        return lost

    def _accounts(self) -> Iterator[tuple[CameraAccount, int]]:
        """Give the account of each planned camera that wrote one, and how many frames it was to send."""
        for plan in self.plans.values():
            for index in range(plan.cameras):
                said = self.cameras.get(plan.camera(index))
                if said is not None:
                    yield said, plan.frames_of(index)
