"""What two runs must have in common before their figures may be compared, and in which settings they differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from compare.reports.headlines import HEADLINES, Depends
from compare.reports.same_frames import Same
from edgewise.show import NOT_MEASURED, cell
from edgewise.summary import Strict

SCHEDULE: Final = ("fleet.cameras", "fleet.rate_hz", "fleet.duration_s", "fleet.arrival", "fleet.seed")
"""Settings that a schedule follows from."""
IMAGES: Final = (*SCHEDULE, "fleet.order")
"""Settings that the frames' images follow from."""
NOT_SETTINGS: Final = ("name", "model_accuracy")
"""Stand among the settings and change nothing."""


class Obstacle(Strict):
    """What keeps figures from a verdict."""

    what: str
    a: str
    b: str
    tiers: list[str]
    figures: list[str]
    """Empty: all of these tiers."""


class Setting(Strict):
    """A setting that differs."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is to be the same on both sides."""

    verdict: Literal["VALID", "INVALID"]
    models: Mapping[str, str | None]
    """By tier; None is not known."""
    deadline_ms: float | None
    settings: Mapping[str, object]
    """By dotted name; empty if they are not known."""


def settings(one: Mapping[str, object], other: Mapping[str, object]) -> list[Setting]:
    """Give the settings that differ, of those that both sides know."""
    # One that just one side knows is of a version that says more, or of a run that was cut off.
    both = [name for name in one if name in other and name not in NOT_SETTINGS]
    return [
        Setting(name=name, a=_written(one, name), b=_written(other, name)) for name in both if one[name] != other[name]
    ]


def obstacles(one: Facts, other: Facts, *, same: Same) -> Iterator[Obstacle]:
    """Give all that keeps figures from a verdict, the gravest first."""
    both = (one, other)
    tiers = list({**one.models, **other.models})
    if {one.verdict, other.verdict} != {"VALID"}:
        yield Obstacle(what="INVALID run", a=one.verdict, b=other.verdict, tiers=tiers, figures=[])
    for tier in tiers:
        if {tier in side.models for side in both} != {True}:
            ran = ["ran" if tier in side.models else "did not run" for side in both]
            yield Obstacle(what=f"the {tier} in one only", a=ran[0], b=ran[1], tiers=[tier], figures=[])
            continue
        a, b = one.models[tier], other.models[tier]
        if a != b and a is not None and b is not None:
            yield Obstacle(what=f"other model in the {tier}", a=a, b=b, tiers=[tier], figures=[])
    yield from _of_frames(one, other, same=same, tiers=tiers)
    if one.deadline_ms != other.deadline_ms:
        said = [f"{cell(side.deadline_ms, digits=0)} ms" for side in both]
        yield _obstacle("other deadline", said, tiers, Depends.DEADLINE)


def _of_frames(one: Facts, other: Facts, *, same: Same, tiers: Sequence[str]) -> Iterator[Obstacle]:
    """Give what is not the same about the frames; the tables know best, and after them the settings."""
    schedule = _by_settings(one, other, SCHEDULE) if same.schedule is None else same.schedule
    images = _by_settings(one, other, IMAGES) if same.images is None else same.images
    for what, known, names, depends in (
        ("schedule", schedule, SCHEDULE, Depends.LOAD),
        ("images", images, IMAGES, Depends.IMAGES),
    ):
        if known is None:
            yield _obstacle(f"{what} not known", ["no frames.parquet or no manifest.json"] * 2, tiers, depends)
        elif not known:
            yield _obstacle(f"other {what}", _told(one, other, names), tiers, depends)
    sets = [str(side.settings.get("dataset_sha256", "")) for side in (one, other)]
    if all(sets) and sets[0] != sets[1]:
        yield _obstacle("other data set", sets, tiers, Depends.IMAGES)


def _by_settings(one: Facts, other: Facts, names: Sequence[str]) -> bool | None:
    if any(name not in side.settings for side in (one, other) for name in names):
        return None
    # A tier that has a part of the frames has others than one that has all.
    split = {side.settings.get("placement") == "split" for side in (one, other)}
    return len(split) == 1 and all(one.settings[name] == other.settings[name] for name in names)


def _told(one: Facts, other: Facts, names: Sequence[str]) -> list[str]:
    """Say in which settings the frames differ, if it is their settings that do."""
    differ = [name for name in names if one.settings.get(name) != other.settings.get(name)]
    said = [", ".join(f"{name} {_written(side.settings, name)}" for name in differ) for side in (one, other)]
    return said if differ else ["as in its frames.parquet"] * 2


def _obstacle(what: str, said: Sequence[str], tiers: Sequence[str], depends: Depends) -> Obstacle:
    figures = [one.name for one in HEADLINES if depends in one.depends]
    return Obstacle(what=what, a=said[0], b=said[1], tiers=list(tiers), figures=figures)


def forbidden(found: Sequence[Obstacle], *, tier: str, figure: str) -> bool:
    """Say whether something keeps this figure from a verdict."""
    return any(tier in one.tiers and (not one.figures or figure in one.figures) for one in found)


def _written(values: Mapping[str, object], name: str) -> str:
    """Write a setting as people do."""
    found = values.get(name)
    if found is None or found in ("", [], ()):
        return NOT_MEASURED if name not in values else "not set"
    return ", ".join(map(str, found)) if isinstance(found, list | tuple) else str(found)
