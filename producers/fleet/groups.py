"""A fleet file: groups of cameras that differ, one TOML table for each."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgewise import declared
from edgewise.errors import ConfigError
from edgewise.messages import Codec
from producers.fleet.schedule import asked
from producers.fleet.settings import Group

TRACE = "trace:"


class Declared(BaseModel):
    """One group as its table in the file says it; what is not said is as on the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cameras: int | None = Field(default=None, ge=1)
    """How many; of a trace, its own."""
    rate_hz: float | None = Field(default=None, gt=0)
    """Frames a second of each camera."""
    frames: int | None = Field(default=None, ge=1)
    """Frames of each camera."""
    duration_s: float | None = Field(default=None, gt=0)
    """In place of frames: as many as come in so long."""
    arrival: str = "periodic"
    """Pattern, with settings: ``burst:on_s=1,off_s=4``; a trace's file is looked for beside this one."""
    seed: int = Field(default=1, ge=0)
    """Of phases and image order."""
    order: Literal["stored", "shuffled"] = "stored"
    """Of the images."""
    codec: Codec = Codec.RAW
    """Of the payloads."""
    qos: Literal[0, 1] = 1
    """MQTT's."""
    window: int = Field(default=20, ge=1, le=65_535)
    """Frames in flight of each camera."""
    drop_after_s: float = Field(default=5.0, gt=0)
    """A frame that could not be sent this long after it was due is dropped at source."""

    def group(self, name: str, *, beside: Path) -> Group:
        """Give the group that is meant.

        Raises:
            ConfigError: its sizes do not fit together.
            ValidationError: its name is none.
        """
        arrival = self.arrival
        if arrival.startswith(TRACE):
            arrival = f"{TRACE}{beside / arrival.removeprefix(TRACE)}"
        sizes = {"cameras": self.cameras, "rate_hz": self.rate_hz, "frames": self.frames, "duration_s": self.duration_s}
        schedule = asked(arrival, **sizes)  # type: ignore[arg-type]  # the fields' own types
        return Group(
            name=name,
            cameras=schedule.cameras,
            rate_hz=schedule.rate_hz,
            arrival=schedule.arrival,
            frames=schedule.frames,
            seed=self.seed,
            order=self.order,
            codec=self.codec,
            qos=self.qos,
            window=self.window,
            drop_after_s=self.drop_after_s,
        )


def read(path: Path) -> tuple[Group, ...]:
    """Read a fleet file.

    Raises:
        ConfigError: there is no such file, it is no TOML, or one of its groups is wrong; with its name.
    """
    try:
        tables: Mapping[str, Any] = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"--groups {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--groups {path} is no TOML: {error}") from error
    if not tables:
        raise ConfigError(f"--groups {path} has no group: a table for each, as in [gate] cameras = 4")
    return tuple(_read(name, table, path) for name, table in tables.items())


def _read(name: str, table: object, path: Path) -> Group:
    if not isinstance(table, dict):
        raise ConfigError(f"--groups {path}: {name} stands outside of a group; begin one with [its-name]")
    try:
        return Declared.model_validate(table).group(name, beside=path.parent)
    except ValidationError as error:
        raise ConfigError(f"--groups {path}, [{name}]: {declared.explained(error, Declared)}") from error
    except ConfigError as error:
        raise ConfigError(f"--groups {path}, [{name}]: {error}") from error
