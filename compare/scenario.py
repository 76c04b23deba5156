"""What a comparison run is: a TOML file, or a shipped one by name, with single values set on top."""

import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgewise.errors import ConfigError, meant
from edgewise.messages import Codec, Tier
from edgewise.summary import Limits
from models.engine import Name
from producers.fleet.schedule import Schedule, asked

SHIPPED: Final = Path(__file__).parent / "scenarios"


class Placement(StrEnum):
    """Which tier classifies which frames."""

    BOTH = "both"
    """Every frame on both tiers, at the same time."""
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
            Placement.ALTERNATE: tuple((tier,) for tier in both),
            Placement.GATEWAY: (both[:1],),
            Placement.CLUSTER: (both[1:],),
        }[self]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    order: Literal["stored", "shuffled"] = "stored"
    """Of the images."""
    seed: int = Field(default=1, ge=0)
    """Of phases, arrivals and image order."""

    @property
    def schedule(self) -> Schedule:
        """Give the schedule that the cameras will keep.

        Raises:
            ConfigError: the arrival is not known, or its trace cannot be read.
        """
        if self.arrival.startswith("trace:"):
            return asked(self.arrival)
        return asked(self.arrival, cameras=self.cameras, rate_hz=self.rate_hz, duration_s=self.duration_s)


class Gateway(_Table):
    """The tier at the edge."""

    engine: Name = "keras"
    """What runs the model."""
    threads: int = Field(default=0, ge=0)
    """Of the engine; 0 is all cores that it may use."""
    cores: tuple[int, ...] = ()
    """That it may use, by number; none is all."""


class Cluster(_Table):
    """The tier behind Kafka."""

    engine: Literal["bigdl", Name] = "bigdl"
    """What runs the model."""
    master: str = ""
    """Spark's; empty is local, with all cores but one."""
    tasks: int = Field(default=0, ge=0)
    """That a micro-batch is divided into; 0 is one for each of Spark's cores."""
    trigger_ms: int = Field(default=200, ge=0)
    """Shortest time from one micro-batch's start to the next."""
    batch_max: int = Field(default=2000, ge=1)
    """Frames in a micro-batch, at most."""
    cores: tuple[int, ...] = ()
    """That it may use, by number; none is all."""


class Scenario(_Table):
    """A whole comparison run."""

    name: str = Field(default="compare", pattern=r"^[a-z0-9-]{1,40}$")
    """What its folder is called after the time; the file's name if it does not say."""
    placement: Placement = Placement.BOTH
    """Which tier classifies which frames: both, alternate, gateway or cluster."""
    repeats: int = Field(default=1, ge=1)
    """How often; at least 3 before one tier may be called the faster."""
    model: str = "resnet20"
    """A shipped model's name, or a .keras or .onnx file."""
    deadline_ms: float = Field(default=500.0, gt=0)
    """By when an answer is on time, from due to seen."""
    limits: Limits = Limits()
    """What a run may come to and still be VALID."""
    fleet: Fleet = Fleet()
    """The cameras."""
    gateway: Gateway = Gateway()
    """The tier at the edge."""
    cluster: Cluster = Cluster()
    """The tier behind Kafka."""


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
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


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
    path = SHIPPED / f"{named}.toml"
    if not path.exists():
        path = Path(named)
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"no scenario {named!r}: neither a file nor one of {', '.join(shipped())}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    values.setdefault("name", path.stem.lower())
    for name, value in {**(over or {}), **_typed(sets)}.items():
        *tables, field = name.split(".")
        table = values
        for one in tables:
            table = table.setdefault(one, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {name}: {one} is a value, not a table")
        table[field] = value
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        wrong = error.errors()[0]
        if flag := (flags or {}).get(".".join(map(str, wrong["loc"]))):
            raise ConfigError(f"{flag} {wrong['input']!r}: {wrong['msg']}") from error
        raise ConfigError(f"scenario {named}: {_explained(error)}") from error


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


def _explained(error: ValidationError) -> str:
    """Say the first thing that is wrong, and what was perhaps meant."""
    wrong = error.errors()[0]
    place = ".".join(str(part) for part in wrong["loc"])
    if wrong["type"] != "extra_forbidden":
        return f"{place} = {wrong['input']!r}: {wrong['msg']}"
    kind: type[BaseModel] = Scenario
    for part in wrong["loc"][:-1]:
        inner = kind.model_fields[str(part)].annotation
        kind = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else kind
    return f"{place} is not known; {meant(str(wrong['loc'][-1]), kind.model_fields)}"


def text(scenario: Scenario) -> str:
    """Write a scenario as TOML, every field with its value."""
    values = scenario.model_dump(mode="json")
    tables = {name: values.pop(name) for name in list(values) if isinstance(values[name], dict)}
    lines = [f"{name} = {_value(value)}" for name, value in values.items()]
    for title, table in tables.items():
        lines += ["", f"[{title}]", *(f"{name} = {_value(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)
