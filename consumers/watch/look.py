"""What there is to see of a run at one moment: the same for the terminal and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

State = Literal["waiting", "planned", "running", "ended", "judged"]
Mark = Literal["right", "wrong", "unjudged", "open", "silent", "elsewhere"]
"""Of a tier's answer to a frame: unjudged where the true class is not known here, open while there is
none, silent where the tier has answered nothing at all for a while, elsewhere where the frame is the other tier's."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a frame's way."""

    name: str
    frames: int | None
    """Seen since the watch began, or accounted for; None where that is told at the end."""
    share: float | None
    """Of the frames planned."""


@dataclass(frozen=True, slots=True)
class TierLook:
    """One tier."""

    name: str
    engine: str
    model: str
    """Both empty before the first answer."""
    results: int
    """Since the watch began, each frame once; an estimate while only some are looked into."""
    rate_hz: float
    right: int
    judged: int
    """Answers whose true class is known here, of those looked into."""
    p50_ms: float | None
    p99_ms: float | None
    """From due to Kafka's stamp of the result, of the last seconds; None with too few answers."""
    waiting: int
    """Its frames in Kafka after the newest one answered or rejected, over all cameras."""
    lag: int | None
    """Of the tier's Kafka group, as Kafka has it; None if it has none."""
    silent_s: float | None
    """Since its last result; None before the first."""
    rejected: int


@dataclass(frozen=True, slots=True)
class Paired:
    """The tiers on the same frames."""

    frames: int
    same: int


@dataclass(frozen=True, slots=True)
class Worst:
    """One of the slowest cameras: medians over its last answers, and how many of them were right."""

    camera: str
    medians_ms: Mapping[str, float | None]
    """By tier."""
    right: int
    judged: int


@dataclass(frozen=True, slots=True)
class Point:
    """One second of the run; None was not measured."""

    at_s: float
    """Since the watch began; each is another."""
    frames_hz: float
    rates_hz: Mapping[str, float]
    waiting: Mapping[str, int]
    p50_ms: Mapping[str, float | None]
    p99_ms: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ledger found."""

    verdict: str
    reasons: Sequence[str]
    folder: str
    page: bool
    """Whether there is a report to be opened."""


@dataclass(frozen=True, slots=True)
class Look:
    """All of it, but for the cameras' pictures."""

    run: str
    state: State
    about: str
    """The plan in words."""
    watched_s: float
    notices: Sequence[str]
    """What is wrong now, each in a sentence."""
    remarks: Sequence[str]
    """What to know about the figures: sampling, what is not known here."""
    names: Sequence[str]
    """Of the cameras, in their order."""
    stages: Sequence[Stage]
    tiers: Sequence[TierLook]
    paired: Paired
    worst: Sequence[Worst]
    marks: Mapping[str, str]
    """By tier, one letter a camera in the order of their names: the first of its Mark."""
    began_ns: int
    """Tick at which the watch of this run began: another one is another run, or the same name's second."""
    verdict: Verdict | None = None
    points: Sequence[Point] = field(default=())


@dataclass(frozen=True, slots=True)
class AnswerLook:
    """A tier's answer to the frame that is shown."""

    tier: str
    mark: Mark
    label: str
    """In words; empty while there is none."""
    age_s: float | None
    """Since the tier's last answer to this camera, whichever frame that was."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame's image, small enough for the wall."""

    rgb: bytes
    """Row by row."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Tile:
    """One camera on the wall: a frame, and what both tiers say of that very frame."""

    camera: str
    number: int | None
    truth: str
    """In words; empty where it is not known here."""
    answers: Sequence[AnswerLook]
    wire: bytes | None
    """The frame as it travelled; None where it was not kept."""
