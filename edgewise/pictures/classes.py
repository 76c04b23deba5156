"""The class of each file: the name of the sub-folder that it is in, or what ``labels.csv`` says of it."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NoReturn

from edgewise.dataset import CLASSES
from edgewise.errors import ConfigError

TABLE: Final = "labels.csv"
"""Beside the pictures; where there is one, nothing else says a class."""
HEADINGS: Final = ("file", "label")
KNOWN: Final = f"a class is one of {', '.join(CLASSES)}, or 0 to {len(CLASSES) - 1}"
TO_DO: Final = f"give each class a sub-folder, or say the classes in {TABLE}, whose first line is file,label"

Skipped = tuple[str, str]
"""A file, and why no image is made of it."""


def listed(folder: Path, *, called: str) -> Sequence[str]:
    """Name the files below a folder, in order; what begins with a dot is none of them.

    Raises:
        ConfigError: there is no such folder, it cannot be read, or it is empty.
    """

    def refuse(error: OSError) -> NoReturn:
        raise ConfigError(f"{called} cannot be read: {error.filename}: {error.strerror}") from error

    names = []
    for place, inside, files in os.walk(folder, onerror=refuse):
        # A link to a folder is not followed, as it may lead round in a circle: it counts as a file that is none.
        links = [one for one in inside if (Path(place) / one).is_symlink()]
        inside[:] = [one for one in inside if not one.startswith(".") and one not in links]
        below = Path(place).relative_to(folder)
        names += [(below / one).as_posix() for one in (*files, *links) if not one.startswith(".")]
    if not set(names) - {TABLE}:
        raise ConfigError(f"{called} holds no pictures; {TO_DO}")
    return sorted(names)


def labelled(folder: Path, names: Sequence[str], *, called: str) -> tuple[Mapping[str, int], Sequence[Skipped]]:
    """Give the class of each file that has one, in the order of the names, and the files that have none.

    Raises:
        ConfigError: a class is not known, or there is none at all.
    """
    if TABLE in names:
        said = _table(folder / TABLE, called=f"{called}: {TABLE}")
        there = set(names) - {TABLE}
        skipped = [(name, f"{TABLE} does not name it") for name in sorted(there - set(said))]
        skipped += [(name, f"{TABLE} names it, and it is not there") for name in sorted(set(said) - there)]
        classes = {name: said[name] for name in names if name in there and name in said}
    else:
        skipped = [(name, "it is in no sub-folder of a class") for name in names if "/" not in name]
        classes = {name: _of_folder(name, called=called) for name in names if "/" in name}
    if not classes:
        raise ConfigError(f"{called}: no picture has a class; {TO_DO}")
    return classes, skipped


def _of_folder(name: str, *, called: str) -> int:
    top = PurePosixPath(name).parts[0]
    if (label := _label(top)) is None:
        raise ConfigError(f"{called}: its sub-folder {top!r} is no class; {KNOWN}")
    return label


def _table(path: Path, *, called: str) -> Mapping[str, int]:
    """Read the classes of files, by their names from the folder on."""
    found: dict[str, int] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if missing := set(HEADINGS) - set(rows.fieldnames or ()):
                raise ConfigError(f"{called} has no column {min(missing)}; its first line is file,label")
            for row in rows:
                name, said = (PurePosixPath(row["file"] or "").as_posix(), row["label"] or "")
                label = _label(said)
                if label is None:
                    raise ConfigError(f"{called}, line {rows.line_num}: {said!r} is no class; {KNOWN}")
                if found.setdefault(name, label) != label:
                    raise ConfigError(f"{called}, line {rows.line_num}: {name} has another class further up")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{called} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return found


def _label(said: str) -> int | None:
    """Give the index that a name or a number means; None if it is no class."""
    word = said.strip().lower()
    if word in CLASSES:
        return CLASSES.index(word)
    return int(word) if word.isascii() and word.isdecimal() and int(word) < len(CLASSES) else None
