"""What is remembered of each camera: its last frames as they travelled, and each tier's last answers.

Memory is bounded whatever the run is: so many cameras, so many frames and answers of all of
them together, and no frame that is larger than any picture of the wall. Each camera has an
equal share of that, so that no fast one takes a slow one's only picture.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from edgewise import split
from edgewise.messages import Tier

CAMERAS_MOST: Final = 10_000
FRAMES_MOST: Final = 20_000
"""Kept of all cameras together: 65 MB of raw CIFAR-10, 330 MB at the worst."""
FRAMES_EACH: Final = 64
FRAME_MOST_BYTES: Final = 16_384
"""A larger one is not kept: the wall shows no picture of it."""
ANSWERS_MOST: Final = 100_000
"""Kept of all cameras and one tier together."""
ANSWERS_EACH: Final = 1000
RECENT: Final = 32
"""Answers that a camera's median is of."""
SURE: Final = 16
"""Answers in a row, each to a frame that a split gives to the tier, from which on a split is told of."""


@dataclass(frozen=True, slots=True)
class Given:
    """One answer."""

    label: int
    truth: int | None
    """The true class; None where it is not known here."""
    latency_ms: float

    @property
    def right(self) -> bool | None:
        """Say whether it is right, where that can be said."""
        return None if self.truth is None else self.label == self.truth


@dataclass(slots=True)
class Side:
    """One camera's answers from one tier."""

    given: dict[int, Given] = field(default_factory=dict)
    """By number, the oldest first."""
    newest: int = -1
    """Number of the newest frame that it has answered or rejected."""
    owed: int = 0
    """Frames of the camera in Kafka that are this tier's ..."""
    settled: int = 0
    """... and those of them that are not after the newest one that it has answered or rejected."""
    seen_ns: int = 0
    """Tick of the last answer."""
    recent_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    recent_right: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))
    _median_ms: float | None = None
    """Of the last answers, as long as none is new: it is asked for every second, and slow cameras answer seldom."""
    _is_new: bool = False

    @property
    def waiting(self) -> int:
        """Count the frames in Kafka after the newest one that the tier has answered or rejected."""
        return max(0, self.owed - self.settled)

    def took(self, given: Given) -> None:
        """Remember how long an answer took, and whether it was right."""
        self._is_new = True
        self.recent_ms.append(given.latency_ms)
        if given.right is not None:
            self.recent_right.append(given.right)

    def median_ms(self) -> float | None:
        """Give the median latency of the last answers."""
        if self._is_new:
            ranked = sorted(self.recent_ms)
            self._median_ms, self._is_new = ranked[(len(ranked) - 1) // 2], False
        return self._median_ms


@dataclass(slots=True)
class Camera:
    """One camera."""

    name: str
    first: int
    """Number of the first frame of it that was seen, in Kafka or answered."""
    newest: int = -1
    """Of its frames in Kafka."""
    frames: dict[int, bytes] = field(default_factory=dict)
    """As they travelled, by number, the oldest first."""
    sides: dict[Tier, Side] = field(default_factory=lambda: {tier: Side() for tier in Tier})

    @property
    def highest(self) -> int:
        """Give the highest number of it that was seen, in Kafka or answered."""
        return max(self.newest, *(side.newest for side in self.sides.values()))

    def shown(self, tiers: list[Tier]) -> int | None:
        """Give the newest kept frame that all these tiers have answered, else one of them, else the newest kept.

        Where no frame is kept, as all are too large, those that the slower tier has answered take their place.
        """
        answered = [self.sides[tier] for tier in tiers if self.sides[tier].given]
        kept = self.frames or min(answered, key=lambda side: side.newest, default=Side()).given
        for enough in (all, any):
            for number in reversed(kept):
                if enough(number in self.sides[tier].given for tier in tiers):
                    return number
        return next(reversed(kept), None)


class Cameras:
    """All cameras of a run, by name.

    ``seed`` is the one by which the tiers share the frames out, if they do. It is believed until an answer is to
    a frame of the other tier's: mostly one of the first two. Without it each frame is each tier's.
    """

    def __init__(self, *, seed: int | None) -> None:
        self._known: dict[str, Camera] = {}
        self._names: list[str] = []
        self._each = (FRAMES_EACH, ANSWERS_EACH)
        """A camera's share of what is kept: frames, and answers of each tier."""
        self._seed, self._fitting = seed, 0
        self.waiting = dict.fromkeys(Tier, 0)
        """By tier: frames in Kafka after the newest one answered or rejected, over all cameras."""
        self.untold = self.large = 0
        """Messages of cameras beyond the most that are remembered, and frames too large to be kept."""

    def __len__(self) -> int:
        """Count them."""
        return len(self._known)

    def __iter__(self) -> Iterator[Camera]:
        """Give them in the order of their names, numbers in them as numbers."""
        return (self._known[name] for name in self.names())

    def names(self) -> list[str]:
        """Give their names, in that order."""
        if len(self._names) != len(self._known):
            self._names = sorted(self._known, key=_natural)
        return self._names

    @property
    def split(self) -> bool:
        """Say whether the tiers share the frames out, as far as their answers tell."""
        return self._seed is not None and self._fitting >= SURE

    def is_owner(self, tier: Tier, camera: Camera, number: int) -> bool:
        """Say whether a frame is this tier's."""
        return self._seed is None or split.owner(camera.name, number, seed=self._seed) is tier

    def known(self, name: str) -> Camera | None:
        """Give a camera that was seen before."""
        return self._known.get(name)

    def get(self, name: str, *, number: int) -> Camera | None:
        """Give a camera, made when it is first seen; None if there are too many."""
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= CAMERAS_MOST:
                self.untold += 1
                return None
            found = self._known[name] = Camera(name, first=number)
            self._share()
        return found

    def _share(self) -> None:
        """Give each camera its share of what is kept; where that is less than before, all forget what is above it."""
        count = len(self._known)
        each = (min(FRAMES_EACH, max(1, FRAMES_MOST // count)), min(ANSWERS_EACH, max(1, ANSWERS_MOST // count)))
        if each == self._each:
            return
        self._each = frames, answers = each
        for camera in self._known.values():
            _forget(camera.frames, most=frames)
            for side in camera.sides.values():
                _forget(side.given, most=answers)

    def keep_frame(self, camera: Camera, number: int, wire: bytes) -> None:
        """Remember a frame; forget its camera's oldest ones."""
        if number > camera.newest:
            for tier, side in camera.sides.items():
                before = side.waiting
                side.owed += self._owned(tier, camera, max(camera.first, camera.newest + 1), number)
                self.waiting[tier] += side.waiting - before
            camera.newest = number
        if len(wire) > FRAME_MOST_BYTES:
            self.large += 1
            return
        camera.frames[number] = wire
        _forget(camera.frames, most=self._each[0])

    def settle(self, camera: Camera, tier: Tier, number: int) -> None:
        """Take it that a tier has answered or rejected a frame, and owes no answer to those before it any more."""
        side = camera.sides[tier]
        if number > side.newest:
            before = side.waiting
            side.settled += self._owned(tier, camera, max(camera.first, side.newest + 1), number)
            self.waiting[tier] += side.waiting - before
            side.newest = number

    def keep_answer(self, camera: Camera, tier: Tier, number: int, given: Given, *, now_ns: int) -> bool:
        """Remember an answer; say whether it is the first one to this frame, as far as is remembered."""
        side = camera.sides[tier]
        side.seen_ns = now_ns
        if number in side.given:
            return False
        self._judge_split(camera, tier, number)
        self.settle(camera, tier, number)
        side.given[number] = given
        side.took(given)
        _forget(side.given, most=self._each[1])
        return True

    # --- whose frames they are ---------------------------------------------------------------------

    def _owned(self, tier: Tier, camera: Camera, first: int, last: int) -> int:
        """Count the numbers of a range that are a tier's."""
        if self._seed is None:
            return max(0, last - first + 1)
        return sum(self.is_owner(tier, camera, number) for number in range(first, last + 1))

    def _judge_split(self, camera: Camera, tier: Tier, number: int) -> None:
        """See by an answer whether the tiers share the frames out; if not, count anew what waits."""
        if self.is_owner(tier, camera, number):
            self._fitting += 1
            return
        self._seed, self.waiting = None, dict.fromkeys(Tier, 0)
        for one in self._known.values():
            for which, side in one.sides.items():
                side.owed = max(0, one.newest - one.first + 1)
                side.settled = max(0, side.newest - one.first + 1)
                self.waiting[which] += side.waiting


def _forget(kept: dict[int, Any], *, most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]


def _natural(name: str) -> tuple[str, int, str]:
    """Order camera-2 before camera-10."""
    words, dash, number = name.rpartition("-")
    return (words, int(number), name) if dash and number.isdecimal() else (name, -1, name)
