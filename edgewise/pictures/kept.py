"""The images of a folder, in the cache: made once for the same files, by their content, and read by everybody.

``pictures-KEY.json`` says what the files with that key came to, ``pictures-SHA256.bin`` has
the images and then the labels, which are not held in memory, and ``pictures-skipped-KEY.csv``
the files of a folder that are not sent, where they are many. Each appears whole or not at all.
"""

import csv
import hashlib
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.progress import track

from edgewise import dataset
from edgewise.dataset import Expected, Split
from edgewise.errors import ConfigError, MissingError
from edgewise.pictures.classes import Skipped
from edgewise.pictures.picture import RECIPE, BrokenError, content_of, digest, digest_of, squared
from edgewise.places import cache, locked

AT_ONCE: Final = 4
"""Files opened at the same time, at most: each picture may take half a gigabyte until it is small."""
BATCH: Final = 256
"""Files whose turn is planned together."""

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Found:
    """What the files with a class came to."""

    split: Split | None
    """None if no image could be made."""
    skipped: Sequence[Skipped]
    """Files that no image could be made of."""


def opened(expected: Expected, *, name: str) -> Split:
    """Map images from the cache.

    Raises:
        OSError: they are not there.
        ValueError: they are damaged.
    """
    return dataset.mapped(_images(expected.sha256), expected, name=name)


def listed(skipped: Sequence[Skipped]) -> Path:
    """Write down which files are skipped, and why; give the file.

    Raises:
        MissingError: the disk does not take it.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "why"), *skipped])
    content = text.getvalue().encode(errors="backslashreplace")
    path = cache() / f"pictures-skipped-{hashlib.sha256(content).hexdigest()[:12]}.csv"
    partial = path.with_suffix(f".{os.getpid()}.part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise MissingError(f"{cache()} does not take the list of skipped pictures: {error.strerror}") from error
    return path


def images_of(folder: Path, classes: Mapping[str, int], *, called: str) -> Found:
    """Give the images of some files, made first if the cache does not have them.

    Raises:
        ConfigError: a file changed meanwhile.
        MissingError: the disk does not take them.
    """
    names = list(classes)
    digests = list(_each(lambda name: digest(folder / name), names, doing=f"looking at {len(names):,} files"))
    told = cache() / f"pictures-{_key(classes, digests)}.json"
    with locked("pictures"):
        try:
            return _known(told, name=folder.name)
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not there, or damaged
        try:
            _make(folder, classes, digests, told, called=called)
            return _known(told, name=folder.name)
        except OSError as error:
            raise MissingError(f"{cache()} does not take the images of {called}: {error.strerror}") from error


def _key(classes: Mapping[str, int], digests: Sequence[str]) -> str:
    """Tell these files, with these classes, from any others."""
    key = hashlib.sha256(RECIPE.encode())
    for (name, label), content in zip(classes.items(), digests, strict=True):
        key.update(json.dumps([name, label, content]).encode())
    return key.hexdigest()[:32]


def _images(sha256: str) -> Path:
    return cache() / f"pictures-{sha256}.bin"


def _known(told: Path, *, name: str) -> Found:
    said: dict[str, Any] = json.loads(told.read_text())
    skipped = [(file, why) for file, why in said["skipped"]]
    split = opened(Expected(said["images"], said["sha256"]), name=name) if said["images"] else None
    return Found(split, skipped)


def _make(folder: Path, classes: Mapping[str, int], digests: Sequence[str], told: Path, *, called: str) -> None:
    """Write the images one by one, then what they are."""
    skipped, labels, sha256 = [], bytearray(), hashlib.sha256()

    def one(known: tuple[str, str]) -> bytes | BrokenError:
        """Give an image's bytes, of the content that was looked at."""
        name, before = known
        try:
            content = content_of(folder / name)
            if digest_of(content) != before:
                raise ConfigError(f"{called}: {name} changed while it was read; start again when it is at rest")
            return squared(content).tobytes()
        except BrokenError as error:
            return error

    partial = told.with_suffix(f".{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            doing = f"making {len(classes):,} images"
            made = _each(one, list(zip(classes, digests, strict=True)), doing=doing)
            for (name, label), image in zip(classes.items(), made, strict=True):
                if isinstance(image, BrokenError):
                    skipped.append((name, str(image)))
                    continue
                labels.append(label)
                sha256.update(image)
                file.write(image)
            sha256.update(labels)
            file.write(labels)
        if labels:
            partial.replace(_images(sha256.hexdigest()))
        partial.write_text(
            json.dumps({"images": len(labels), "sha256": sha256.hexdigest(), "skipped": skipped, "of": called})
        )
        partial.replace(told)
    finally:
        partial.unlink(missing_ok=True)


def _each(work: Callable[[Any], Made], items: Sequence[Any], *, doing: str) -> Iterator[Made]:
    """Do some work for each item, several at a time; give what came of it, in order."""
    console = Console(file=sys.stderr)
    with (
        # Pillow warns of what it then refuses or reads all the same; neither is talk for our users.
        warnings.catch_warnings(action="ignore"),
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        some = (pool.map(work, items[first : first + BATCH]) for first in range(0, len(items), BATCH))
        done = (made for batch in some for made in batch)
        yield from track(done, doing, total=len(items), console=console, transient=True)
