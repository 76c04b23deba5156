"""What the readers of Keras', BigDL's and older formats give: a network to be built behind scaled pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.imports.pixels import Floats, Outputs, Scaling

if TYPE_CHECKING:
    import keras

Tensor = Any
"""Keras' symbolic tensors have no public type."""
BATCH: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A network with its weights, which takes floating-point images."""

    shape: tuple[int, int, int]
    """Height, width, channels of its images."""
    build: Callable[[Tensor, Tensor], Tensor]
    """Builds it anew behind a tensor of scaled images, made of a model's input; gives the tensor of its outputs."""


def outputs(network: Network) -> tuple[Outputs, tuple[int, ...]]:
    """Give the network as a function of scaled images, and the shape of an image's outputs."""
    import keras

    images = keras.Input(network.shape)
    model = keras.Model(images, network.build(images, images))

    def ask(scaled: Floats) -> Floats:
        return np.asarray(model.predict(scaled, batch_size=BATCH, verbose=0), np.float32)

    return ask, tuple(model.output_shape[1:])


def finished(network: Network, *, scaling: Scaling | None, softmax: bool, name: str) -> "keras.Model":
    """Build the model that the engines load: from uint8 pixels to probabilities."""
    import keras

    x = pixels = keras.Input(network.shape, dtype="uint8", name="pixels")
    if scaling is not None:
        scale, offset = scaling.scale.tolist(), scaling.offset.tolist()
        x = keras.layers.Rescaling(scale, offset, dtype="float32", name="scaled_pixels")(x)
    given = network.build(x, pixels)
    if softmax:
        given = keras.layers.Softmax(dtype="float32", name="probabilities")(given)
    return keras.Model(pixels, given, name=name)
