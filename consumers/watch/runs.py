"""The topic ``runs`` as a watcher needs it: which run is the newest, what was planned, who has ended."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgewise import account
from edgewise.account import Closing, Opening, Plan
from edgewise.arrivals import unpacked
from edgewise.clock import SECOND_NS
from edgewise.kafka import Record

RUNS_MOST: Final = 50
"""The last of which something is remembered."""
SAMPLED: Final = 8
"""Cameras of a fleet whose schedules are looked into for the next frame that is due."""
OVERDUE_S: Final = 60.0
"""After its last frame was due, from which on a fleet that has not accounted for itself was ended or killed."""


@dataclass(slots=True)
class Told:
    """What one run's entries tell."""

    plans: dict[str, Plan] = field(default_factory=dict)
    """By fleet."""
    fleets: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What each fleet did, once it has closed."""
    open: dict[tuple[str, str], bool] = field(default_factory=dict)
    """By part and name: whether it has opened the run and not closed it since."""
    _ends_ns: dict[str, int] = field(default_factory=dict)
    """By fleet: about when its last frame is due."""

    @property
    def start_ns(self) -> int:
        """Give the moment at which the first fleet begins."""
        return min((plan.start_ns for plan in self.plans.values()), default=0)

    @property
    def sent_all(self) -> bool:
        """Say whether every fleet has closed."""
        return bool(self.plans) and self.plans.keys() <= self.fleets.keys()

    @property
    def seed(self) -> int | None:
        """Give the first fleet's seed, by which a comparison shares its frames out; None before there is a plan."""
        first = min(self.plans.values(), key=lambda plan: plan.start_ns, default=None)
        return None if first is None else first.seed

    def planned(self) -> int:
        """Count the frames of all fleets."""
        return sum(plan.frames_together() for plan in self.plans.values())

    def frames_of(self, camera: str) -> int:
        """Count the frames that are planned of a camera; none of one that no fleet has."""
        fleet, _, index = camera.rpartition("-")
        plan = self.plans.get(fleet)
        if plan is None or not index.isdecimal() or int(index) >= plan.cameras or plan.camera(int(index)) != camera:
            return 0
        return plan.frames_of(int(index))

    def next_due_ns(self, after_ns: int) -> int | None:
        """Give the next moment at which a frame is due, by a few cameras of each fleet; None if all were due."""
        moments = [
            due_ns[np.searchsorted(due_ns, after_ns, side="right") :][:1]
            for plan in self.plans.values()
            for due_ns in _sampled(plan)
        ]
        return min((int(moment[0]) for moment in moments if len(moment)), default=None)

    def overdue(self, wall_ns: int) -> list[str]:
        """Name the fleets that ought to have accounted for themselves by now."""
        late_ns = wall_ns - round(OVERDUE_S * SECOND_NS)
        return [
            name
            for name, plan in self.plans.items()
            # All cameras' schedules are computed only once those of a few have ended.
            if name not in self.fleets and self._seems_over(name, late_ns) and plan.end_ns() < late_ns
        ]

    def _seems_over(self, fleet: str, late_ns: int) -> bool:
        if fleet not in self._ends_ns:
            plan = self.plans[fleet]
            self._ends_ns[fleet] = max((int(due_ns[-1]) for due_ns in _sampled(plan)), default=plan.start_ns)
        return self._ends_ns[fleet] < late_ns

    def cameras(self) -> int:
        """Count the cameras of all fleets."""
        return sum(plan.cameras for plan in self.plans.values())

    def counted(self, name: str) -> int | None:
        """Add up one count of all fleets; None until all have closed, or where one does not tell."""
        counts = [found for fleet in self.fleets.values() if isinstance(found := fleet.get(name), int)]
        return sum(counts) if self.sent_all and len(counts) == len(self.fleets) else None

    def has_open(self, part: str) -> bool:
        """Say whether a part of this kind works on the run."""
        return any(is_open for (kind, _), is_open in self.open.items() if kind == part)

    def has_closed(self, part: str) -> bool:
        """Say whether all parts of this kind that worked on the run have ended as they should."""
        kinds = [is_open for (kind, _), is_open in self.open.items() if kind == part]
        return bool(kinds) and not any(kinds)

    def again(self) -> "Told":
        """Give what is known of a second run of this name, as Kafka takes one when it came back empty."""
        return Told(open={part: True for part, is_open in self.open.items() if is_open})

    def labels(self, camera: str) -> NDArray[np.uint8] | None:
        """Give the classes of a camera's images where its plan carries them: they are pictures of a folder."""
        plan = self.plans.get(camera.rpartition("-")[0])
        return _carried(plan.labels) if plan is not None and plan.labels else None

    def about(self) -> str:
        """Say what was planned."""
        if not self.plans:
            return ""
        first = next(iter(self.plans.values()))
        rate_hz = sum(plan.cameras * plan.rate_hz for plan in self.plans.values())
        cameras = self.cameras()
        fleets = f" in {len(self.plans)} fleets" if len(self.plans) > 1 else ""
        return (
            f"{cameras:,} camera{'s' * (cameras != 1)}{fleets}, {rate_hz:,.6g} frames/s {first.arrival.kind}, "
            f"{first.codec.value}, {self.planned():,} frames"
        )


def _sampled(plan: Plan) -> Iterator[NDArray[np.int64]]:
    """Give the schedules of a few cameras of a fleet, one after the other: together they may be long."""
    for index in range(0, plan.cameras, -(-plan.cameras // SAMPLED)):
        yield plan.due_ns(index)


@lru_cache(maxsize=8)
def _carried(labels: str) -> NDArray[np.uint8]:
    return unpacked(labels).astype(np.uint8)


class Runs:
    """The runs that the topic told of last, and one that is to be kept whatever comes."""

    def __init__(self, keep: str = "") -> None:
        self._keep = keep
        self._told: dict[str, Told] = {}
        self.until_ns = 0
        """Kafka's stamp of the last record: what is older is told for the second time when the topic is read anew."""

    def add(self, record: Record) -> None:
        """Take one record of the topic."""
        self.until_ns = record.appended_ns
        if "/camera/" in record.key:  # one for each camera, and long ones
            return
        entry = account.decode(record.value)
        if entry is None or isinstance(entry, account.CameraAccount) or not entry.run:
            return
        told = self._told.setdefault(entry.run, Told())
        match entry:
            case Plan():
                if told.plans.get(entry.fleet, entry) != entry:
                    told = self._told[entry.run] = told.again()
                told.plans[entry.fleet] = entry
            case Opening():
                told.open[entry.part, entry.name] = True
            case Closing(part="fleet"):
                told.fleets[entry.name] = entry.summary
            case Closing():
                told.open[entry.part, entry.name] = False
        while len(self._told) > RUNS_MOST:
            del self._told[next(run for run in self._told if run != self._keep)]

    def _age(self, run: str) -> int:
        return self._told[run].start_ns

    def told(self, run: str) -> Told:
        """Give what a run's entries tell; nothing of one that is not there."""
        return self._told.get(run, Told())

    def newest(self) -> str | None:
        """Name the run that was planned last."""
        planned = [run for run, told in self._told.items() if told.plans]
        return max(planned, key=self._age, default=None)
