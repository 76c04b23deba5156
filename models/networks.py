"""The networks, as Keras builds them.

Each takes uint8 RGB images and does its own scaling inside, so that no consumer can
preprocess differently, and ends in softmax probabilities.
"""

from collections.abc import Callable
from typing import Any, Final

import keras
from keras import layers

from edgewise.dataset import CLASSES, SHAPE

Build = Callable[..., keras.Model]
BatchNorm = Callable[..., Any]

CIFAR10_MEAN: Final = (0.49139968, 0.48215841, 0.44653091)
CIFAR10_DEVIATION: Final = (0.24703223, 0.24348513, 0.26158784)
"""Of each channel over the 50,000 training images, pixels scaled to 0..1."""


def resnet20(
    *,
    shape: tuple[int, int, int] = SHAPE,
    classes: int = len(CLASSES),
    batch_norm: BatchNorm = layers.BatchNormalization,
) -> keras.Model:
    """ResNet-20 for small images (He et al. 2015, section 4.2), 1x1 projections where the size changes.

    Convolutions have no bias: each is followed by a batch normalisation, or added to one.
    """
    x = pixels = keras.Input(shape, dtype="uint8", name="pixels")
    x = scaled(x)
    x = _relu(_conv(x, 16, name="stem", batch_norm=batch_norm), name="stem")
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in (1, 2, 3):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _residual(x, filters, stride=stride, name=f"stage{stage}_block{block}", batch_norm=batch_norm)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(pixels, layers.Dense(classes, activation="softmax", dtype="float32", name="classes")(x))


def cifar_cnn(
    *,
    shape: tuple[int, int, int] = SHAPE,
    classes: int = len(CLASSES),
    batch_norm: BatchNorm = layers.BatchNormalization,  # noqa: ARG001 - it has none
) -> keras.Model:
    """Build the CNN of Keras' own CIFAR-10 example (cifar10_cnn.py): 1,250,858 parameters."""
    x = pixels = keras.Input(shape, dtype="uint8", name="pixels")
    x = scaled(x)
    for stage, filters in enumerate((32, 64), start=1):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"stage{stage}_a")(x)
        x = layers.Conv2D(filters, 3, activation="relu", name=f"stage{stage}_b")(x)
        x = layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
        x = layers.Dropout(0.25, name=f"stage{stage}_dropout")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(512, activation="relu", name="hidden")(x)
    x = layers.Dropout(0.5, name="hidden_dropout")(x)
    return keras.Model(pixels, layers.Dense(classes, activation="softmax", dtype="float32", name="classes")(x))


def bigdl_cnn(
    *,
    shape: tuple[int, int, int] = SHAPE,
    classes: int = len(CLASSES),
    batch_norm: BatchNorm = layers.BatchNormalization,
) -> keras.Model:
    """Build a small CNN in the style of BigDL's VGG for CIFAR-10; not the one that was measured in 2018.

    The layers of that one were never published. From BigDL's example come the pattern (twice a 3x3
    convolution, batch normalisation and ReLU, then max pooling; at the end a hidden dense layer,
    normalised too) and the growing number of filters: here 32 to 128 of them, there 64 to 512.
    """
    x = pixels = keras.Input(shape, dtype="uint8", name="pixels")
    x = scaled(x)
    for stage, filters in enumerate((32, 64, 128), start=1):
        for half in "ab":
            name = f"stage{stage}_{half}"
            x = _relu(_conv(x, filters, name=name, batch_norm=batch_norm), name=name)
        x = layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(128, use_bias=False, name="hidden")(x)
    x = _relu(batch_norm(name="hidden_norm")(x), name="hidden")
    x = layers.Dropout(0.3, name="hidden_dropout")(x)
    return keras.Model(pixels, layers.Dense(classes, activation="softmax", dtype="float32", name="classes")(x))


def scaled(x: Any) -> Any:  # noqa: ANN401 - Keras' symbolic tensors have no public type
    """Bring 0..255 to zero mean and unit deviation a channel, in float32."""
    scale = [1 / (255 * deviation) for deviation in CIFAR10_DEVIATION]
    offset = [-mean / deviation for mean, deviation in zip(CIFAR10_MEAN, CIFAR10_DEVIATION, strict=True)]
    return layers.Rescaling(scale, offset, dtype="float32", name="scaled")(x)


def _conv(x: Any, filters: int, *, name: str, batch_norm: BatchNorm, stride: int = 1) -> Any:  # noqa: ANN401
    conv = layers.Conv2D(
        filters, 3, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )
    return batch_norm(name=f"{name}_norm")(conv(x))


def _relu(x: Any, *, name: str) -> Any:  # noqa: ANN401
    return layers.ReLU(name=f"{name}_relu")(x)


def _residual(x: Any, filters: int, *, stride: int, name: str, batch_norm: BatchNorm) -> Any:  # noqa: ANN401
    y = _relu(_conv(x, filters, name=f"{name}_a", batch_norm=batch_norm, stride=stride), name=f"{name}_a")
    y = _conv(y, filters, name=f"{name}_b", batch_norm=batch_norm)
    if stride != 1:
        x = layers.Conv2D(
            filters, 1, stride, use_bias=False, kernel_initializer="he_normal", name=f"{name}_projection"
        )(x)
    return _relu(layers.Add(name=f"{name}_sum")([y, x]), name=name)


NETWORKS: Final[dict[str, Build]] = {"resnet20": resnet20, "cifar_cnn": cifar_cnn, "bigdl_cnn": bigdl_cnn}
"""By the name that ``--model`` and the cards use."""
