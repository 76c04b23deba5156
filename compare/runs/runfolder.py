"""A run's folder: everything needed to check it, under one name."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from compare.runs import host
from consumers.ledger import table
from edgewise import __version__
from edgewise.clock import Clock, utc_name
from edgewise.errors import ConfigError, MissingError
from edgewise.places import CHECKOUT

SPACE_NEEDED_BYTES: Final = 200 << 20
"""Of a short run: brokers' data, logs, one row a frame."""
MANIFEST: Final = "manifest.json"
RESULT_FILES: Final = (table.FILE, "summary.json")
"""What a run came to: the manifest has their checksums."""
COMPARED: Final = (
    *("camera", "number", "tier", "fate", "image", "label", "correct"),
    *("due_ns", "sent_ns", "seen_ns", "size_bytes", "result_bytes"),
)
"""Columns of the per-frame table that runs are compared by."""


def make(runs: Path, scenario: str, *, clock: Clock) -> Path:
    """Make ``runs/<UTC time>-<scenario>/`` with a ``logs`` folder inside.

    Raises:
        MissingError: the disk does not take it, or has too little left for a run.
    """
    folder = runs / f"{utc_name(clock.now_ns())}-{scenario}"
    try:
        (folder / "logs").mkdir(parents=True)
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise MissingError(f"{folder} cannot be made: {error.strerror}; choose another --runs") from error
    if free_bytes < SPACE_NEEDED_BYTES:
        raise MissingError(
            f"{folder} has {free_bytes >> 20} MB free and a run needs {SPACE_NEEDED_BYTES >> 20}; "
            "free some space or choose another --runs"
        )
    return folder


def write_manifest(folder: Path, *, scenario: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Write ``manifest.json``: what ran, where, with which settings, and what must not change from now on.

    Raises:
        MissingError: the disk does not take it.
    """
    content = {
        "version": __version__,
        "commit": _commit(),
        "host": host.here(),
        "packages": {found.name: found.version for found in sorted(distributions(), key=lambda one: one.name.lower())},
        "scenario": dict(scenario),
        "parts": dict(parts),
        "files": {name: sha256(folder / name) for name in RESULT_FILES if (folder / name).exists()},
    }
    _write(json.dumps(content, indent=1, default=str), folder / MANIFEST)


def keep(found: BaseModel, path: Path) -> None:
    """Write what several runs came to: a comparison, a search or a sweep.

    Raises:
        MissingError: the disk does not take it.
    """
    _write(found.model_dump_json(indent=1, by_alias=True), path)


def _write(content: str, path: Path) -> None:
    try:
        path.write_text(f"{content}\n")
    except OSError as error:
        raise MissingError(f"{path} cannot be written: {error.strerror}; free some space") from error


def manifest(folder: Path) -> Mapping[str, Any]:
    """Read what ran where; nothing of a run that only a ledger accounted for.

    Raises:
        ConfigError: there is something that is no manifest.
    """
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read as a manifest: {error}; was the run cut off?") from error
    return found if isinstance(found, dict) else {}


def frames(folder: Path) -> pa.Table | None:
    """Read what is compared of a run's per-frame table; None if there is none.

    Raises:
        ConfigError: it is there, and is no such table.
    """
    path = folder / table.FILE
    try:
        return pq.read_table(path, columns=list(COMPARED))
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ConfigError(f"{path} cannot be read as a run's table; was it written by another version?") from error


def sha256(path: Path) -> str:
    """Give a file's checksum."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _commit() -> str | None:
    """Name the commit of the checkout, None where it is none."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=12"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    return told.stdout.strip() or None
