"""What classifies: one protocol for every engine, and the engine that is here today, Keras."""

import os
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import ConfigError
from edgewise.quiet import quiet_stderr
from models import card

SHIPPED: Final = Path(__file__).parent / "weights"

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]


class Engine(Protocol):
    """A loaded model."""

    name: str
    """Of the engine, as results carry it."""
    identity: str
    """Of the model: name@12 hex digits."""
    shape: tuple[int, int, int]
    """Height, width, channels of the images it takes."""

    def classify(self, images: NDArray[np.uint8]) -> tuple[Labels, Scores]:
        """Give label and probability of each of N x height x width x 3 images; N is at least 1."""


def model_file(named: str) -> Path:
    """Find a shipped model by name, or any by path."""
    shipped = SHIPPED / f"{named}.keras"
    return shipped if shipped.exists() or ("/" not in named and not named.endswith(".keras")) else Path(named)


class KerasEngine:
    """Keras on TensorFlow, as one compiled function of a batch of any size.

    ``Model.predict`` would build a data set for every call: 30 ms around a
    single image's 4.
    """

    name = "keras"

    def __init__(self, model: Path, *, threads: int) -> None:
        """Load a model file that has a card.

        Args:
            model: a ``.keras`` file, its card beside it.
            threads: for one batch; 0 lets TensorFlow take all cores.
        """
        self.identity = card.read(model).identity
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with quiet_stderr():
            self._load(model, threads=threads)

    def _load(self, model: Path, *, threads: int) -> None:
        import keras
        import tensorflow as tf

        if threads:  # a setting of the whole process: TensorFlow takes it once, before it has done anything
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        loaded = keras.models.load_model(model, compile=False)
        height, width, channels = loaded.input_shape[1:]
        self.shape = (int(height), int(width), int(channels))
        self.classes = int(loaded.output_shape[-1])
        spec = tf.TensorSpec((None, *self.shape), tf.uint8)

        def best(images: object) -> tuple[object, object]:
            chances = loaded(images, training=False)
            return tf.argmax(chances, axis=1), tf.reduce_max(chances, axis=1)

        self._best = tf.function(best, input_signature=[spec])
        self._constant = tf.constant
        self.classify(np.zeros((1, *self.shape), dtype=np.uint8))

    def classify(self, images: NDArray[np.uint8]) -> tuple[Labels, Scores]:
        """See Engine."""
        labels, scores = self._best(self._constant(images))
        return labels.numpy(), scores.numpy()


def load(engine: str, *, model: str, threads: int = 0) -> Engine:
    """Load a model into an engine.

    Raises:
        ConfigError: no such engine or model.
    """
    if engine != "keras":
        raise ConfigError(f"--engine {engine!r} is not known; there is: keras")
    return KerasEngine(model_file(model), threads=threads)
