"""Limits as they are typed: ``late_ms=50``."""

from collections.abc import Sequence

from pydantic import ValidationError

from edgewise.errors import ConfigError, meant
from edgewise.summary import Limits


def typed(said: Sequence[str]) -> Limits:
    """Read limits; those that nobody names keep their defaults.

    Raises:
        ConfigError: no such limit, or not such a value.
    """
    known, values = list(Limits.model_fields), {}
    for one in said:
        name, equals, value = one.partition("=")
        if not equals:
            raise ConfigError(f"--limit {one!r} is not NAME=VALUE, for example late_ms=50")
        if name not in known:
            raise ConfigError(f"--limit {name} is not known; {meant(name, known)}")
        values[name] = value
    try:
        return Limits.model_validate(values)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ConfigError(f"--limit {wrong['loc'][0]}={wrong['input']}: {wrong['msg']}") from error


def as_typed(limits: Limits) -> list[str]:
    """Write limits as they are typed: those that are not the defaults."""
    return [f"{name}={value}" for name, value in limits.model_dump(exclude_defaults=True).items()]
