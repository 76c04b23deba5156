"""A folder of pictures in the place of CIFAR-10: each brought to the model's size, with its class.

``classes`` finds the class of each file, ``picture`` makes an image of one, ``kept`` has
the images of all in the cache, by their content. Here stands what a folder comes to.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from edgewise.arrivals import TRACE_FRAMES_MOST, packed
from edgewise.dataset import Expected, Split
from edgewise.errors import ConfigError, MissingError
from edgewise.pictures import kept
from edgewise.pictures.classes import labelled, listed

NAME: Final = "pictures"
"""Of every such data set; its split is called after the folder."""
SHOWN: Final = 10
"""Skipped files that are named; of more the whole list is in the cache."""


class Pictures(BaseModel):
    """Images like those of a split; their classes travel to the ledger in the plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Of the folder."""
    images: int
    """That were made, in the order of their files' names."""
    sha256: str
    """Of the images' bytes and then the labels'."""
    labels: str
    """Packed: the class of each image."""
    skipped: int
    """Files that no image was made of."""

    def split(self) -> Split:
        """Give the images.

        Raises:
            MissingError: they are in the cache no longer.
        """
        try:
            return kept.opened(Expected(self.images, self.sha256), name=self.name)
        except (OSError, ValueError) as error:
            raise MissingError(f"the pictures of {self.name} have left the cache: {error}; start again") from error


def load(folder: Path, *, say: Callable[[str], None], option: str = "--images") -> Pictures:
    """Read a folder of pictures, or find in the cache what it came to before.

    Args:
        folder: with a sub-folder for each class, or with ``labels.csv``.
        say: hears which files are skipped, and what came of the others.
        option: what the user knows the folder as.

    Raises:
        ConfigError: there is no such folder, a class in it is not known, or nothing in it could be sent.
    """
    called = f"{option} {folder}"
    classes, skipped = labelled(folder, listed(folder, called=called), called=called)
    if len(classes) > TRACE_FRAMES_MOST:
        raise ConfigError(f"{called} has {len(classes):,} pictures; a plan takes {TRACE_FRAMES_MOST:,} at most")
    found = kept.images_of(folder, classes, called=called)
    skipped = sorted([*skipped, *found.skipped])
    for name, why in skipped[:SHOWN]:
        say(f"{called}: {name} is skipped: {why}")
    if len(skipped) > SHOWN:
        say(f"{called}: {len(skipped) - SHOWN:,} more are skipped; all of them stand in {kept.listed(skipped)}")
    if found.split is None:
        name, why = found.skipped[0]
        raise ConfigError(f"{called} has no picture that can be read, of {len(classes):,} files: {name}: {why}")
    whole = Pictures(
        name=_plain(folder.resolve().name),
        images=len(found.split.labels),
        sha256=found.split.sha256,
        labels=packed(found.split.labels.astype(np.int64)),
        skipped=len(skipped),
    )
    say(f"{called}: {whole.images:,} pictures, {whole.skipped:,} files skipped, SHA-256 {whole.sha256[:12]}")
    return whole


def _plain(name: str) -> str:
    """Give a folder's name as every message may carry it."""
    return "".join(one if one.isascii() and (one.isalnum() or one in "._-") else "-" for one in name)[:80] or "-"
