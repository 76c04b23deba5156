"""One run as it is seen: what both views show, in memory that does not grow with the run.

Counts begin with the watch. A latency is from a frame's due moment to Kafka's stamp of its
result (whole milliseconds), so that it does not depend on when a watcher comes to look.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from consumers.watch.cameras import Cameras, Given
from consumers.watch.look import Point
from consumers.watch.pulse import Pulse
from consumers.watch.runs import Told
from consumers.watch.window import Rate, Window
from edgewise import topics
from edgewise.clock import MILLISECOND_NS, SECOND_NS
from edgewise.errors import FrameError
from edgewise.kafka import Record
from edgewise.messages import Tier, result_fields
from edgewise.peek import Peek, intact

POINTS: Final = 180
"""Seconds that the charts go back."""
QUIET_S: Final = 5.0
"""So long after a frame was due and none came, something stands still."""
RESULTS_MOST_HZ: Final = 2500
"""Results a second up to which every one is looked into."""


class Labels(Protocol):
    """The true classes, as far as they are known here."""

    def __call__(self, data: str, split: str, /) -> NDArray[np.uint8] | None:
        """Give the labels of a data set's split; None if they are not here."""


class TierSeen:
    """What was seen of one tier."""

    def __init__(self, tier: Tier, *, began_ns: int) -> None:
        self.engine = self.model = ""
        self.results = self.right = self.judged = self.rejected = 0
        self.window, self.rate = Window(), Rate()
        self.pulse = Pulse(tier, began_ns=began_ns)
        self.reads_kafka = False
        """Whether its frames come from Kafka, where it has a group, or from MQTT, where it has none."""
        self.lag: int | None = None


class Model:
    """One run under a watcher's eyes; ``told`` is what the topic ``runs`` tells of it.

    ``split_seed`` is the one by which the tiers share the frames out, if somebody said one.
    """

    def __init__(self, run: str, *, told: Told, labels: Labels, began_ns: int, split_seed: int | None = None) -> None:
        self.run, self.told, self.began_ns = run, told, began_ns
        self._labels, self._peek = labels, Peek(run)
        self.cameras = Cameras(seed=told.seed if split_seed is None else split_seed)
        self.tiers = {tier: TierSeen(tier, began_ns=began_ns) for tier in Tier}
        self.points: deque[Point] = deque(maxlen=POINTS)
        self.frames = self.passed = 0
        self.read_ns = self.frame_ns = began_ns
        """Ticks at which Kafka was read last, and at which a frame of this run was there last, or the watch began."""
        self._read = self._mine = 0
        """Frames of the second under way: read, of whatever run, and those of this one."""
        self.pairs = self.same = 0
        self.frame_rate, self._results_rate = Rate(), Rate()
        self.one_in = 1
        """Of how many frames' results one is looked into, by the frames' numbers."""
        self.truth_known = True
        self._next_due: tuple[int, int | None] = (-1, None)
        """A tick of a last frame, and when the next one was due then."""

    # --- what is read ----------------------------------------------------------------------------

    def add(self, records: Sequence[Record], *, now_ns: int) -> None:
        """Take what was read of frames, results and frames-rejected, of whatever run; it may be nothing."""
        self.read_ns = now_ns
        for record in records:
            match record.topic:
                case topics.FRAMES:
                    self._frame(record, now_ns=now_ns)
                case topics.RESULTS:
                    self._result(record, now_ns=now_ns)
                case _:
                    self._rejection(record)
        for tier, seen in self.tiers.items():
            if not self.cameras.waiting[tier]:
                seen.pulse.rest(now_ns=now_ns)

    def _frame(self, record: Record, *, now_ns: int) -> None:
        """Count a frame; it is not decoded before it is shown."""
        self._read += 1
        named = self._peek.frame(record.value)
        if named is None or not self._trusts(*named, wire=record.value):
            return
        self._mine += 1
        self.frames += 1
        self.frame_ns = now_ns
        self.frame_rate.add()
        name, number = named
        if number % self.one_in == 0 and (camera := self.cameras.get(name, number=number)) is not None:
            self.cameras.keep_frame(camera, number, record.value)

    def _trusts(self, name: str, number: int, *, wire: bytes) -> bool:
        """Say whether to believe who a frame says it is.

        What no fleet was going to send is nobody's frame. A number that is damaged would have all up to it wait for
        ever, so that one which is not the next is believed only in a frame that is whole.
        """
        if not 0 <= number < self.told.frames_of(name):
            return False
        camera = self.cameras.known(name)
        return (camera is not None and number <= camera.highest + 1) or intact(wire)

    def add_passed(self, count: int, *, now_ns: int) -> None:
        """Count frames that were passed over, unread: as large a share of them is this run's as of those just read."""
        count = round(count * self._mine / self._read) if self._read else 0
        self.frames += count
        self.passed += count
        self.frame_rate.add(count)
        if count:
            self.frame_ns = now_ns

    def _rejection(self, record: Record) -> None:
        """Take what a tier rejected; such a record names no run, so its moment decides whether it counts."""
        by = (dict(record.headers).get("by") or b"").decode(errors="replace")
        if by not in set(Tier):
            return
        tier = Tier(by)
        if record.appended_ns >= self.told.start_ns - SECOND_NS:
            self.tiers[tier].rejected += 1
        # Its bytes often tell all the same which frame it was: that one is not waited for.
        named = self._peek.frame(record.value)
        if named is None or not self._trusts(*named, wire=record.value):
            return
        camera = self.cameras.get(named[0], number=named[1])
        if camera is not None:
            self.cameras.settle(camera, tier, named[1])

    def _result(self, record: Record, *, now_ns: int) -> None:
        """Take a result; while they come fast, those of one frame in so many count for all."""
        named = self._peek.result(record.value)
        if named is None or not 0 <= named[1] < self.told.frames_of(named[0]):
            return
        self._results_rate.add()
        if named[1] % self.one_in:
            return
        try:
            told = result_fields(record.value)
        except FrameError:
            return  # another program's record
        camera = self.cameras.get(told["camera"], number=told["number"])
        if camera is None:
            return
        which = Tier(told["tier"])
        tier = self.tiers[which]
        tier.pulse.beat(now_ns=now_ns)
        tier.reads_kafka = told["appended_ns"] is not None
        tier.engine, tier.model = told["engine"], told["model"]
        latency_ms = (record.appended_ns - told["due_ns"]) / MILLISECOND_NS
        given = Given(told["label"], self._truth(told), latency_ms)
        if not self.cameras.keep_answer(camera, which, told["number"], given, now_ns=now_ns):
            return
        tier.results += self.one_in
        tier.rate.add(self.one_in)
        tier.window.add(latency_ms, now_ns=now_ns)
        if given.truth is not None:
            tier.judged += 1
            tier.right += given.label == given.truth
        other = camera.sides[Tier.CLUSTER if which is Tier.GATEWAY else Tier.GATEWAY].given.get(told["number"])
        if other is not None:
            self.pairs += 1
            self.same += other.label == given.label

    def _truth(self, told: Mapping[str, Any]) -> int | None:
        labels, image = self.told.labels(told["camera"]), told["image"]
        if labels is None:
            labels = self._labels(told["dataset"], told["split"])
        self.truth_known = labels is not None
        return None if labels is None or not 0 <= image < len(labels) else int(labels[image])

    # --- what follows from it --------------------------------------------------------------------

    def close_second(self, *, now_ns: int, lasted_s: float) -> None:
        """End a second, or however long it was: the charts get a point, how many results are looked into is decided."""
        tiers = {tier.value: self.tiers[tier] for tier in self.shown_tiers()}
        percentiles = {name: seen.window.percentiles(now_ns=now_ns) for name, seen in tiers.items()}
        point = Point(
            at_s=round((now_ns - self.began_ns) / SECOND_NS, 1),
            frames_hz=self.frame_rate.close(lasted_s=lasted_s),
            rates_hz={name: seen.rate.close(lasted_s=lasted_s) for name, seen in tiers.items()},
            waiting={name: self.cameras.waiting[Tier(name)] for name in tiers},
            p50_ms={name: found[0] for name, found in percentiles.items()},
            p99_ms={name: found[1] for name, found in percentiles.items()},
        )
        self.points.append(point)
        self.read_ns = now_ns
        self._read = self._mine = 0
        self._results_rate.close(lasted_s=lasted_s)
        self.one_in = max(1, math.ceil(self._results_rate.hz / RESULTS_MOST_HZ))

    def set_lags(self, lags: Mapping[str, int | None]) -> None:
        """Take how far the tiers' Kafka groups are behind."""
        for name, lag in lags.items():
            tier = self.tiers[Tier(name)]
            tier.lag = lag if tier.reads_kafka else None

    def shown_tiers(self) -> list[Tier]:
        """Give the tiers that have answered, or are known to work on the run."""
        return [tier for tier in Tier if self.tiers[tier].pulse.seen_ns is not None or self.told.has_open(tier.value)]

    # --- what is missed --------------------------------------------------------------------------

    def silent_s(self, tier: Tier) -> float | None:
        """Say for how long a tier has answered nothing, as far as Kafka was read; None before its first answer."""
        seen_ns = self.tiers[tier].pulse.seen_ns
        return None if seen_ns is None else (self.read_ns - seen_ns) / SECOND_NS

    def is_silent(self, tier: Tier) -> bool:
        """Say whether a tier ought to answer and does not: frames have been waiting for it, and nothing comes."""
        if self.told.has_closed(tier.value) or not self.cameras.waiting[tier]:
            return False
        return self.tiers[tier].pulse.is_missed(now_ns=self.read_ns)

    def live_tiers(self) -> list[Tier]:
        """Give the tiers that answer."""
        return [tier for tier in self.shown_tiers() if not self.is_silent(tier)]

    def standstill_s(self, *, wall_ns: int) -> float | None:
        """Say for how long no frame has come, as far as Kafka was read, though one was due; None if that is well."""
        still_s = (self.read_ns - self.frame_ns) / SECOND_NS
        if self.told.sent_all or still_s <= QUIET_S or self.frames >= self.told.planned():
            return None
        if self._next_due[0] != self.frame_ns:
            last_ns = wall_ns - (self.read_ns - self.frame_ns)
            self._next_due = (self.frame_ns, self.told.next_due_ns(last_ns))
        due_ns = self._next_due[1]
        return still_s if due_ns is not None and wall_ns - due_ns > QUIET_S * SECOND_NS else None
