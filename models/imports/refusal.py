"""How every import says that it cannot be done."""

from pathlib import Path

from edgewise.errors import ConfigError


def refused(file: Path, why: str) -> ConfigError:
    """Give the error, in one line: which file, and what was expected and found."""
    return ConfigError(f"{file} cannot be imported: {' '.join(why.split())}")


def first_line(error: BaseException) -> str:
    """Give what a library said of a file, short enough to be read."""
    said = str(error).strip().splitlines() or [type(error).__name__]
    return said[0][:200]
