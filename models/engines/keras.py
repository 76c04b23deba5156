"""Keras on TensorFlow."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import ConfigError
from edgewise.quiet import quiet_stderr
from models import card, keras_file
from models.engine import Chances, Loaded


class KerasEngine(Loaded):
    """Keras on TensorFlow, as one compiled function of a batch of any size.

    ``Model.predict`` would build a data set for every call: 30 ms around a single image's 4.
    """

    def __init__(self, model: Path, *, threads: int, precision: str = "fp32") -> None:  # noqa: ARG002 - all engines'
        """Load a ``.keras`` file.

        Raises:
            ConfigError: it is something else, Keras cannot read it, or TensorFlow runs with other threads already.
        """
        if model.suffix != ".keras":
            raise ConfigError(f"--engine keras cannot run {model}; take onnx or openvino")
        self.identity = card.known(model).identity
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with quiet_stderr():
            self._load(model, threads=threads)

    def _load(self, model: Path, *, threads: int) -> None:
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        if threads:  # a setting of the whole process: TensorFlow takes it once, before it has done anything
            try:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(1)
            except RuntimeError as error:
                raise ConfigError(
                    f"--threads {threads}: TensorFlow has begun its work in this process with another number; "
                    "give every Keras engine of one process the same"
                ) from error
        loaded = keras_file.read(model)
        height, width, channels = loaded.input_shape[1:]
        self.shape = (int(height), int(width), int(channels))
        self.classes = int(loaded.output_shape[-1])
        spec = tf.TensorSpec((None, *self.shape), tf.uint8)
        traced = tf.function(lambda images: loaded(images, training=False), input_signature=[spec])
        # With its weights as constants TensorFlow joins normalisation and activation to the convolutions.
        self._chances = convert_variables_to_constants_v2(traced.get_concrete_function())
        self._constant = tf.constant

    def chances(self, images: NDArray[np.uint8]) -> Chances:
        """See Loaded."""
        (found,) = self._chances(self._constant(images))
        return np.asarray(found)
