"""A run's folder: everything needed to check it, under one name."""

import json
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

import psutil

from compare import machine
from edgewise import __version__
from edgewise.clock import Clock, utc_name
from edgewise.errors import MissingError
from edgewise.places import CHECKOUT

SPACE_NEEDED_BYTES: Final = 200 << 20
"""Of a short run: brokers' data, logs, one row a frame."""


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
    """Write ``manifest.json``: what ran, where, with which settings.

    Raises:
        MissingError: the disk does not take it.
    """
    manifest = {
        "version": __version__,
        "commit": _commit(),
        "host": _host(),
        "packages": {found.name: found.version for found in sorted(distributions(), key=lambda one: one.name.lower())},
        "scenario": dict(scenario),
        "parts": dict(parts),
    }
    path = folder / "manifest.json"
    try:
        path.write_text(json.dumps(manifest, indent=1, default=str) + "\n")
    except OSError as error:
        raise MissingError(f"{path} cannot be written: {error.strerror}; free some space") from error


def _host() -> dict[str, Any]:
    return {
        "name": socket.gethostname(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": machine.here().processor,
        "cores": os.cpu_count(),
        "cores_allowed": sorted(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _commit() -> str | None:
    """Name the commit of the checkout, None where it is none."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=12"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    return told.stdout.strip() or None
