"""A fleet file: groups of cameras that differ, one TOML table for each."""

from pathlib import Path

from pydantic import Field, ValidationError

from edgewise import dataset, declared, pictures
from edgewise.errors import ConfigError
from edgewise.parts import say
from producers.fleet.schedule import asked
from producers.fleet.settings import Alike, Group

TRACE = "trace:"


class Declared(Alike):
    """One group as its table in a file, or the command line, says it; what is not said is the same in both."""

    cameras: int | None = Field(default=None, ge=1)
    """How many; of a trace, its own."""
    rate_hz: float | None = Field(default=None, gt=0)
    """Frames a second of each camera."""
    frames: int | None = Field(default=None, ge=1)
    """Frames of each camera."""
    duration_s: float | None = Field(default=None, gt=0)
    """In place of frames: as many as come in so long."""
    arrival: str = "periodic"
    """Pattern, with settings: ``burst:on_s=1,off_s=4``; a trace's file is looked for beside the group's own."""
    images: Path | None = None
    """Folder of pictures, in place of the data set's test images; looked for beside the file, too."""

    def group(self, name: str, *, beside: Path = Path()) -> Group:
        """Give the group that is meant.

        Raises:
            ConfigError: its sizes do not fit together, or its pictures cannot be sent.
            ValidationError: its name is none, or it is more than a plan takes.
        """
        arrival = self.arrival
        if arrival.startswith(TRACE):
            arrival = f"{TRACE}{beside / arrival.removeprefix(TRACE)}"
        own = None if self.images is None else pictures.load(beside / self.images, say=say)
        schedule = asked(
            arrival,
            cameras=self.cameras,
            rate_hz=self.rate_hz,
            frames=self.frames,
            duration_s=self.duration_s,
            images=(own or dataset.SPLITS["test"]).images,
        )
        return Group(
            name=name,
            cameras=schedule.cameras,
            rate_hz=schedule.rate_hz,
            arrival=schedule.arrival,
            frames=schedule.frames,
            images=own,
            **self.model_dump(include=set(Alike.model_fields)),
        )


def read(path: Path) -> tuple[Group, ...]:
    """Read a fleet file.

    Raises:
        ConfigError: there is no such file, it is no TOML, or one of its groups is wrong; with its name.
    """
    try:
        tables = declared.parsed(path, called=f"--groups {path}")
    except OSError as error:
        raise ConfigError(f"--groups {path} cannot be read: {error.strerror}") from error
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
