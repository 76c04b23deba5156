"""Exports are made in a process of their own, so that the one which asks stays without TensorFlow and its memory."""

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from edgewise.errors import ConfigError, EdgewiseError, MissingError
from edgewise.places import CHECKOUT


def make(module: str, model: Path, place: Path, *, int8: bool, needs: Sequence[str]) -> None:
    """Let a module of this folder write a model's file.

    Raises:
        ConfigError: it says that it cannot.
        MissingError: it lacks the training images.
        ModuleNotFoundError: one of the libraries it ``needs`` is not installed.
    """
    for library in needs:
        if importlib.util.find_spec(library) is None:
            raise ModuleNotFoundError(f"no module named {library!r}", name=library)
    command = [sys.executable, "-m", module, str(model.resolve()), str(place.resolve()), *["--int8"] * int8]
    child = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
    for kind in (ConfigError, MissingError):
        if child.returncode == kind.exit_code:
            raise kind(child.stderr.strip().splitlines()[-1])
    if child.returncode:
        raise RuntimeError(f"{model} could not be exported:\n{child.stderr}")


def serve(contents: Callable[[Path], bytes], *, int8: Callable[[Path], bytes]) -> None:
    """Be that process: write what one of the two gives to a file that appears whole or not at all."""
    parser = argparse.ArgumentParser(description="Export a model, for those who ask for its file.")
    parser.add_argument("model", type=Path, help="the model's own file")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--int8", action="store_true", help="calibrated on training images")
    asked = parser.parse_args()
    try:
        written = int8(asked.model) if asked.int8 else contents(asked.model)
    except EdgewiseError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    place: Path = asked.out
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        partial.write_bytes(written)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
