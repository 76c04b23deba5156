"""How the pixels were scaled when a model was trained: found out, because few files say it.

A model that takes floating-point images is tried with each usual scaling on the first
training images. The right one stands out by tens of per cent; the test images decide nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.dataset import Split

Floats = NDArray[np.float32]
Outputs = Callable[[Floats], Floats]
"""A model's outputs, N x classes, of scaled images, N x height x width x channels."""


class Pixels(StrEnum):
    """The usual scalings of 0 to 255."""

    AS_IS = "as-is"
    UNIT = "unit"
    MEAN_IMAGE = "mean-image"
    STANDARD = "standard"


CIFAR10_MEAN: Final = (0.4914, 0.4822, 0.4465)
CIFAR10_DEVIATION: Final = (0.2470, 0.2435, 0.2616)
"""Of each channel, rounded as BigDL's and many PyTorch recipes round them."""
TRIED: Final = 1000
"""Training images that each scaling is tried with."""
OFF_MAX: Final = 1e-3
"""By which the sum of probabilities may miss one."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Pixel * scale + offset."""

    pixels: Pixels
    scale: Floats
    """One number, or one of each channel."""
    offset: Floats
    """The same, or one of each channel of each pixel."""

    def of(self, images: NDArray[np.uint8]) -> Floats:
        """Scale images."""
        return images.astype(np.float32) * self.scale + self.offset


def scalings(train: NDArray[np.uint8]) -> Mapping[Pixels, Scaling]:
    """Give every scaling; the mean image is that of all the training images."""
    one, none, unit = np.array(1), np.array(0), np.array(1 / 255)
    mean, deviation = np.array(CIFAR10_MEAN), np.array(CIFAR10_DEVIATION)
    mean_image = train.mean(axis=0, dtype=np.float64) / 255
    made = [
        (Pixels.AS_IS, one, none),
        (Pixels.UNIT, unit, none),
        (Pixels.MEAN_IMAGE, unit, -mean_image),
        (Pixels.STANDARD, 1 / (255 * deviation), -mean / deviation),
    ]
    return {
        name: Scaling(name, np.asarray(scale, np.float32), np.asarray(offset, np.float32))
        for name, scale, offset in made
    }


def chosen(outputs: Outputs, *, train: Split, asked: Pixels | None, say: Callable[[str], None]) -> tuple[Scaling, bool]:
    """Give the scaling with which a model is right most often, and whether its outputs are probabilities.

    Args:
        outputs: of the model.
        train: the training images.
        asked: a scaling that is not to be found out; None if it is.
        say: takes what was found.
    """
    images, labels = np.asarray(train.images[:TRIED]), train.labels[:TRIED]
    every = scalings(train.images)
    found: dict[Pixels, Floats] = {
        name: outputs(scaling.of(images)) for name, scaling in every.items() if asked in (None, name)
    }
    right = {name: int((given.argmax(axis=1) == labels).sum()) for name, given in found.items()}
    best = max(right, key=lambda name: right[name])
    told = ", ".join(f"{name} {count}" for name, count in right.items())
    say(f"pixels: {best} (right on the first {len(images):,} training images: {told})")
    return every[best], _probable(found[best])


def _probable(given: Floats) -> bool:
    return bool(given.min() >= 0 and np.abs(given.sum(axis=1) - 1).max() < OFF_MAX)
