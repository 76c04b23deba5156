"""One picture file -> an image of the model's size, always by the same recipe.

1. The first picture of a file; a JPEG is opened at the scale, of 1/1 to 1/8, that leaves four times the size.
2. Upright, as EXIF says the camera was held.
3. RGB: CMYK converted, 16 bits of grey to 8, what is transparent on white.
4. The largest square in the middle, brought to the size by Pillow's antialiased bicubic filter.

A picture that is of the size and RGB already stays as it is, pixel for pixel.
"""

import hashlib
import io
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, __version__

from edgewise.dataset import SIDE

RECIPE: Final = f"1, Pillow {__version__}"
"""Of the same file it gives the same image."""
PIXELS_MAX: Final = 40_000_000
"""More are refused before they are unpacked: a small file may hold a picture that fills the memory."""
FILE_MAX_BYTES: Final = 100_000_000
DRAFT: Final = 4 * SIDE
WHITE: Final = (255, 255, 255, 255)
RUNS_PROGRAMS: Final = {"EPS"}
"""Formats for which Pillow starts another program."""


class BrokenError(Exception):
    """No image can be made of a file; the text says why."""


def content_of(path: Path) -> bytes:
    """Read a file.

    Raises:
        BrokenError: it cannot be read, is none, or is too large to be a picture.
    """
    try:
        if not path.is_file():
            raise BrokenError("it is no file")
        if (size_bytes := path.stat().st_size) > FILE_MAX_BYTES:
            raise BrokenError(f"{size_bytes:,} bytes, {FILE_MAX_BYTES:,} allowed")
        return path.read_bytes()
    except OSError as error:
        raise BrokenError(error.strerror or str(error)) from error


def digest(path: Path) -> str:
    """Give what tells a file's content from any other; of one that cannot be read, why."""
    try:
        return digest_of(content_of(path))
    except BrokenError as error:
        return str(error)


def digest_of(content: bytes) -> str:
    """Give the same of a content that was read."""
    return hashlib.sha256(content).hexdigest()


def squared(content: bytes) -> NDArray[np.uint8]:
    """Make a file's content an image, SIDE x SIDE x 3.

    Raises:
        BrokenError: it is no picture, is damaged, cut off, or of too many pixels.
    """
    Image.init()
    formats = sorted(set(Image.OPEN) - RUNS_PROGRAMS)
    try:
        with Image.open(io.BytesIO(content), formats=formats) as picture:
            picture.draft("RGB", (DRAFT, DRAFT))
            _refuse_size(*picture.size)
            colours = _rgb(ImageOps.exif_transpose(picture))
            width, height = colours.size
            side = min(width, height)
            left, top = (width - side) // 2, (height - side) // 2
            square = colours.crop((left, top, left + side, top + side))
            return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.uint8)
    except BrokenError:
        raise
    except Exception as error:  # whatever one of its many readers raises
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise BrokenError("no picture that can be read" if "cannot identify" in said else said) from error


def _refuse_size(width: int, height: int) -> None:
    if width * height > PIXELS_MAX:
        raise BrokenError(f"{width:,} x {height:,} pixels, {PIXELS_MAX:,} allowed")


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode in {"I", "F"}:
        raise BrokenError(f"mode {picture.mode}: its numbers do not say what is white")
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, WHITE), clear).convert("RGB")
    return picture.convert("RGB")
