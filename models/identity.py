"""Which model this is: a hash over its weights that no file format changes."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras


def weights_sha256(weights: Mapping[str, NDArray[np.float32]]) -> str:
    """SHA-256 over names, shapes and float32 values (little-endian), in the order of the names.

    Keras' names (``layer/variable``) and layouts (kernels height x width x in x out) are
    the canonical ones: an engine that stores a kernel otherwise turns it back first.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = np.ascontiguousarray(weights[name], dtype="<f4")
        digest.update(f"{name}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def keras_weights(model: "keras.Model") -> dict[str, NDArray[np.float32]]:
    """Collect a Keras model's weights under their canonical names."""
    return {f"{layer.name}/{weight.name}": np.asarray(weight) for layer in model.layers for weight in layer.weights}
