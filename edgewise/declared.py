"""What a user declares in TOML: a shipped file by its name, or one of his own."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from edgewise.errors import ConfigError, meant


def shipped(folder: Path) -> Sequence[str]:
    """Name the files that come with the kit."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read(named: str, *, folder: Path, what: str) -> tuple[str, dict[str, Any]]:
    """Read a file: a shipped one's name in ``folder``, or a path; give its name and its values.

    Raises:
        ConfigError: there is no such file, or it is no TOML; the text names ``what`` it was to be.
    """
    path = folder / f"{named}.toml"
    if not path.exists():
        path = Path(named)
    try:
        return path.stem, parsed(path, called=str(path))
    except OSError as error:
        raise ConfigError(f"no {what} {named!r}: neither a file nor one of {', '.join(shipped(folder))}") from error


def parsed(path: Path, *, called: str) -> dict[str, Any]:
    """Read a file's values; a complaint names it as it was ``called``.

    Raises:
        ConfigError: it is no TOML.
        OSError: it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{called} is no TOML: {error}") from error


def explained(error: ValidationError, whole: type[BaseModel]) -> str:
    """Say the first thing that is wrong, and what was perhaps meant."""
    wrong = error.errors()[0]
    place = ".".join(str(part) for part in wrong["loc"])
    if not place:  # it is no single value, but how they go together
        return str(wrong["ctx"]["error"])
    if wrong["type"] == "missing":  # its input is all that stands around it
        return f"{place} is missing"
    if wrong["type"] != "extra_forbidden":
        return f"{place} = {wrong['input']!r}: {wrong['msg']}"
    kind = whole
    for part in wrong["loc"][:-1]:
        said = kind.model_fields[str(part)].annotation
        inner = (one for one in get_args(said) or (said,) if isinstance(one, type) and issubclass(one, BaseModel))
        kind = next(inner, kind)
    return f"{place} is not known; {meant(str(wrong['loc'][-1]), kind.model_fields)}"


def text(values: Mapping[str, Any]) -> str:
    """Write values as TOML: a table for each mapping."""
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    lines = [f"{name} = {_value(value)}" for name, value in values.items() if name not in tables]
    for title, table in tables.items():
        # A dotted name is one key here: quoted.
        lines += ["", f"[{title}]", *(f"{_key(name)} = {_value(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return f'"{name}"' if "." in name else name


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)
