"""What a comparison run is: a TOML file, or a shipped one by name, with single values set on top."""

import copy
import itertools
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgewise import dataset, declared, pictures, words
from edgewise.errors import ConfigError
from edgewise.messages import Codec, Tier
from edgewise.mqtt.link import Link
from edgewise.parts import say
from edgewise.pictures import Pictures
from edgewise.statistics import SAMPLES_NEEDED
from edgewise.summary import Limits
from models.engine import Name
from producers.camera.churn import Churn
from producers.fleet.schedule import Schedule, asked

SHIPPED: Final = Path(__file__).parent / "scenarios"


class Placement(StrEnum):
    """Which tier classifies which frames."""

    BOTH = "both"
    """Every frame on both tiers, at the same time."""
    SPLIT = "split"
    """Each frame on one tier, by a rule that ``fleet.seed`` is the seed of; both at the same time."""
    ALTERNATE = "alternate"
    """The same schedule again and again, one tier at a time, the order of the tiers turning."""
    GATEWAY = "gateway"
    """The gateway alone."""
    CLUSTER = "cluster"
    """The cluster alone."""

    @property
    def rounds(self) -> tuple[tuple[Tier, ...], ...]:
        """Give the tiers of each run that one repeat consists of."""
        both = (Tier.GATEWAY, Tier.CLUSTER)
        return {
            Placement.BOTH: (both,),
            Placement.SPLIT: (both,),
            Placement.ALTERNATE: tuple((tier,) for tier in both),
            Placement.GATEWAY: (both[:1],),
            Placement.CLUSTER: (both[1:],),
        }[self]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _words_of(settings: type[BaseModel]) -> AfterValidator:
    """Check words that are handed on to the cameras as they are."""

    def check(said: str) -> str:
        try:
            settings.model_validate(words.settings(said))
        except ValidationError as error:
            raise ValueError(declared.explained(error, settings)) from error
        return said

    return AfterValidator(check)


class Fleet(_Table):
    """The cameras."""

    cameras: int = Field(default=4, ge=1)
    """How many."""
    rate_hz: float = Field(default=15.0, gt=0)
    """Frames a second of each camera."""
    duration_s: float = Field(default=40.0, gt=0)
    """From the first frame due to the last."""
    arrival: str = "periodic"
    """periodic, poisson, lognormal, burst:on_s=1,off_s=4, diurnal:period_s=60,depth=0.8, or trace:FILE."""
    codec: Codec = Codec.RAW
    """Of the payloads."""
    images: str = ""
    """Folder of pictures that are sent; empty is CIFAR-10's test images."""
    order: Literal["stored", "shuffled"] = "stored"
    """Of the images."""
    seed: int = Field(default=1, ge=0)
    """Of phases, arrivals and image order, and of a split."""
    link: Annotated[str, _words_of(Link)] = ""
    """Of each camera to the broker: ``delay_ms=80,jitter_ms=20,loss_share=0.01,rate_kbit_s=2000``; empty is perfect."""
    churn: Annotated[str, _words_of(Churn)] = ""
    """Cameras that leave and come back: ``share=0.2,stay_s=60,away_s=10``; empty is none."""
    clock_ahead_s: float = 0.0
    """How far the cameras' clocks are ahead; below 0 they are behind."""
    connections: int = Field(default=0, ge=0)
    """That the cameras share; 0 is one for each."""
    ceiling_share: float = Field(default=0.7, gt=0, le=1)
    """Of what these cameras can send at most, which is measured first: more is refused."""

    @cached_property
    def pictures(self) -> Pictures | None:
        """Give the pictures that are sent in place of the data set.

        Raises:
            ConfigError: they cannot be sent.
        """
        return pictures.load(Path(self.images), say=say, option="fleet.images") if self.images else None

    @cached_property
    def schedule(self) -> Schedule:
        """Give the schedule that the cameras will keep; a trace's file is read once.

        Raises:
            ConfigError: the arrival is not known, or its trace cannot be read.
        """
        if self.arrival.startswith("trace:"):
            return asked(self.arrival, images=(self.pictures or dataset.SPLITS["test"]).images)
        return asked(self.arrival, cameras=self.cameras, rate_hz=self.rate_hz, duration_s=self.duration_s)

    @property
    def offered_hz(self) -> float:
        """Give the frames a second of all cameras together, to the thousandth; of a trace, on the average.

        Raises:
            ConfigError: see ``schedule``.
        """
        return round(self.schedule.cameras * self.schedule.rate_hz, 3)


class Gateway(_Table):
    """The tier at the edge."""

    engine: Name = "keras"
    """What runs the model."""
    model: str = ""
    """That it runs, if it is another than the scenario's ``model``: then no tier is called the better one."""
    threads: int = Field(default=0, ge=0)
    """Of the engine; 0 is all cores that it may use."""
    cores: tuple[int, ...] = ()
    """That it may use, by number; none is all that the other tier does not have for itself."""


class Cluster(_Table):
    """The tier behind Kafka."""

    engine: Literal["bigdl", Name] = "bigdl"
    """What runs the model."""
    model: str = ""
    """That it runs, if it is another than the scenario's ``model``."""
    master: str = ""
    """Spark's; empty is local, with all cores but one."""
    tasks: int = Field(default=0, ge=0)
    """That a micro-batch is divided into; 0 is one for each of Spark's cores."""
    trigger_ms: int = Field(default=200, ge=0)
    """Shortest time from one micro-batch's start to the next."""
    batch_max: int = Field(default=2000, ge=1)
    """Frames in a micro-batch, at most."""
    cores: tuple[int, ...] = ()
    """That it may use, by number; none is all that the other tier does not have for itself."""


class Kind(StrEnum):
    """What a scenario's load is searched for."""

    NONE = "none"
    """Nothing: the load is as it stands."""
    CAPACITY = "capacity"
    """The highest rate that each tier sustains, alone."""
    CROSSOVER = "crossover"
    """The number of cameras from which on another tier is the better one."""


class Search(_Table):
    """Runs of one tier at a time, with more and more load. What a tier must keep to sustain it stands here."""

    kind: Kind = Kind.NONE
    """none, capacity or crossover."""
    most_times: float = Field(default=64.0, ge=1)
    """How many times the scenario's own load it may become; never more than ``fleet.ceiling_share`` allows."""
    within_share: float = Field(default=0.05, gt=0, lt=1)
    """How narrow the gap between what is sustained and what is not must get, as a share."""
    delivered_share: float = Field(default=0.999, gt=0, le=1)
    """Of the frames sent, that must be answered."""
    accuracy_points: float = Field(default=0.5, ge=0)
    """How far the model's own accuracy may lie outside the interval of the run's, in percentage points."""


class Scenario(_Table):
    """A whole comparison run."""

    name: str = Field(default="compare", pattern=r"^[a-z0-9-]{1,40}$")
    """What its folder is called after the time; the file's name if it does not say."""
    placement: Placement = Placement.BOTH
    """Which tier classifies which frames: both, split, alternate, gateway or cluster."""
    repeats: int = Field(default=1, ge=1)
    """How often; at least 3 before one tier may be called the faster."""
    model: str = "resnet20"
    """A shipped model's name, or a .keras or .onnx file."""
    deadline_ms: float = Field(default=500.0, gt=0)
    """By when an answer is on time, from due to seen."""
    drain_s: float = Field(default=10.0, ge=1)
    """After the cameras' end: how long nothing may come before what is missing is missing; above a micro-batch."""
    tariff: str = ""
    """Prices that money and energy are modelled by: a TOML file, or a shipped one by name; empty is none."""
    limits: Limits = Limits()
    """What a run may come to and still be VALID."""
    fleet: Fleet = Fleet()
    """The cameras."""
    gateway: Gateway = Gateway()
    """The tier at the edge."""
    cluster: Cluster = Cluster()
    """The tier behind Kafka."""
    search: Search = Search()
    """What the load is searched for, if it is."""
    sweep: Mapping[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = {}
    """Values by dotted name, each of which is run; of several names, each with each."""

    @model_validator(mode="after")
    def _shares_connections(self) -> Self:
        """Refuse connections that the cameras cannot share, before the run in which they would say so."""
        fleet = self.fleet
        if not fleet.connections:
            return self
        if fleet.connections > fleet.cameras and not fleet.arrival.startswith("trace:"):
            raise ValueError(f"fleet.connections: there are only {fleet.cameras} cameras to share {fleet.connections}")
        link, churn = Link.model_validate(words.settings(fleet.link)), Churn.model_validate(words.settings(fleet.churn))
        if churn.share or not link.perfect:
            raise ValueError("fleet.connections: cameras that come and go, or have a link of their own, share none")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Refuse what no run could be made of, before anything is started."""
        if self.search.kind is Kind.NONE:
            return self
        if self.sweep:
            raise ValueError("a scenario has a search or a sweep, not both")
        if self.placement in {Placement.BOTH, Placement.SPLIT}:
            raise ValueError(f'a search runs one tier at a time: placement = "alternate", not "{self.placement}"')
        if self.search.kind is Kind.CROSSOVER and self.placement is not Placement.ALTERNATE:
            raise ValueError(f'a crossover is between two tiers: placement = "alternate", not "{self.placement}"')
        if self.fleet.arrival.startswith("trace:"):
            raise ValueError("a trace has one load; search with another fleet.arrival")
        if self.fleet.duration_s < 2 * self.limits.backlog_over_s:
            raise ValueError(
                f"a growing backlog is judged over {self.limits.backlog_over_s:g} s after the warm-up: "
                f"fleet.duration_s must be at least twice that, not {self.fleet.duration_s:g}"
            )
        frames, least = self.fleet.cameras * self.fleet.rate_hz * self.fleet.duration_s, 2 * SAMPLES_NEEDED[99]
        if frames < least:
            raise ValueError(
                f"a search judges p99, which needs {least} frames in its first run, half of them warm-up: "
                f"fleet.cameras, fleet.rate_hz and fleet.duration_s make {frames:,.0f}"
            )
        return self

    def model_of(self, tier: Tier) -> str:
        """Name the model that a tier runs."""
        own = self.gateway if tier is Tier.GATEWAY else self.cluster
        return own.model or self.model

    @property
    def models(self) -> list[str]:
        """Name the models of the tiers that run, each once."""
        return list(dict.fromkeys(self.model_of(tier) for tiers in self.placement.rounds for tier in tiers))

    @property
    def points(self) -> Sequence[tuple[dict[str, Any], "Scenario"]]:
        """Give each point of the sweep: its values by name, and the scenario with them; one point if there is none."""
        whole = self.model_dump(mode="json", exclude={"sweep"})
        found = []
        for values in itertools.product(*self.sweep.values()):  # of nothing: one point, without a value
            point = dict(zip(self.sweep, values, strict=True))
            found.append((point, Scenario.model_validate(_with(whole, point, said="sweep"))))
        return found

    def at(self, values: Mapping[str, Any]) -> "Scenario":
        """Give this scenario with other values, by dotted name, to be run as it is and not searched."""
        whole = self.model_dump(mode="json", exclude={"sweep"})
        return Scenario.model_validate(_with(whole, {"search.kind": Kind.NONE, **values}, said="at"))


def _with(values: Mapping[str, Any], over: Mapping[str, Any], *, said: str) -> dict[str, Any]:
    """Give nested values with others over them, by dotted name.

    Raises:
        ConfigError: a name goes into a value; the text begins with what was ``said``.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(values))
    for name, value in over.items():
        *tables, field = name.split(".")
        table = changed
        for one in tables:
            table = table.setdefault(one, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{said} {name}: {one} is a value, not a table")
        table[field] = value
    return changed


def order(scenario: Scenario) -> Sequence[tuple[Tier, ...]]:
    """Give the tiers of each run; what goes first in one repeat goes last in the next."""
    rounds = scenario.placement.rounds
    return [one for repeat in range(scenario.repeats) for one in (rounds if repeat % 2 == 0 else rounds[::-1])]


def placed(tiers: Sequence[str]) -> Placement:
    """Give the placement of these tiers at the same time.

    Raises:
        ConfigError: there is no such tier.
    """
    if wrong := sorted(set(tiers) - set(Tier)):
        raise ConfigError(f"--tiers {wrong[0]!r} is not known; there is: {', '.join(Tier)}")
    return Placement.BOTH if len(set(tiers)) > 1 else Placement(tiers[0])


def shipped() -> Sequence[str]:
    """Name the scenarios that come with the kit."""
    return declared.shipped(SHIPPED)


def read(
    named: str,
    *,
    over: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
) -> Scenario:
    """Read a scenario.

    Args:
        named: a shipped one's name, or a TOML file.
        over: values by dotted name, which come before the file's.
        flags: what the user knows such values as, where it was not their name.
        sets: the same as they are typed: ``fleet.cameras=8``; they come before all others.

    Raises:
        ConfigError: no such scenario, or something in it that is not known or not allowed, by its name.
    """
    name, values = declared.read(named, folder=SHIPPED, what="scenario")
    values.setdefault("name", name.lower())
    values = _with(values, {**(over or {}), **_typed(sets)}, said="--set")
    try:
        found = Scenario.model_validate(values)
        _ = found.points  # what is wrong with one of them is said before the first is run
    except ValidationError as error:
        wrong = error.errors()[0]
        if flag := (flags or {}).get(".".join(map(str, wrong["loc"]))):
            raise ConfigError(f"{flag} {wrong['input']!r}: {wrong['msg']}") from error
        raise ConfigError(f"scenario {named}: {declared.explained(error, Scenario)}") from error
    return found


def _typed(sets: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value``; a value that is no TOML is a text."""
    found: dict[str, Any] = {}
    for one in sets:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {one!r} is not NAME=VALUE, for example fleet.cameras=8")
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = value
    return found


def text(scenario: Scenario) -> str:
    """Write a scenario as TOML, every field with its value."""
    return declared.text(scenario.model_dump(mode="json"))
