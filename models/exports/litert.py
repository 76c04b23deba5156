"""The same networks as LiteRT files, converted by TensorFlow from what Keras computes.

In int8 the ranges are the converter's own, least and greatest value. As in ``int8``, its
twin for ONNX, what comes before the first layer with weights and after the last stays in
float32, and so do these two where they are small: their part of the error is the greatest.
It took ResNet-20's changed labels from about 99 to 84 of the 10,000 test images.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgewise.errors import ConfigError
from edgewise.places import cache, once
from edgewise.quiet import quiet_stderr
from models import card, keras_file
from models.exports.child import make, serve

EXPORTER: Final = 1
"""Version of what is written here: a higher one makes every file anew."""
WEIGHTED: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def file(model: Path, *, int8: bool = False) -> Path:
    """Give a model's LiteRT file, made first if it is not there, as ``models.exports.onnx.file`` does.

    Raises:
        ConfigError: no such model, or one that cannot be converted.
        MissingError: int8 lacks the training images.
        ModuleNotFoundError: it must be made, and what makes it is not installed.
    """
    if model.suffix != ".keras":
        raise ConfigError(f"LiteRT files are made from .keras files, and {model} is none; take onnx or openvino")
    place = cache() / "models" / f"{card.known(model).file_key}-v{EXPORTER}{'-int8' * int8}.tflite"
    needs = ("keras", "tensorflow")
    return once(
        place,
        lambda: make("models.exports.litert", model, place, int8=int8, needs=needs),
        lock=f"litert{'-int8' * int8}",
    )


def _float(model: Path) -> bytes:
    converter, _ = _converter(model)
    return _converted(converter, model)


def _int8(model: Path) -> bytes:
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    from models.exports import int8

    converter, shape = _converter(model)
    images = int8.images(shape)

    def one_by_one() -> Iterator[list[Any]]:
        yield from ([images[number : number + 1]] for number in range(len(images)))

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = one_by_one
    # The public way, QuantizationDebugger, does these two steps and needs the ranges taken twice.
    converter._experimental_calibrate_only = True  # noqa: SLF001
    calibrated = _converted(converter, model)
    with quiet_stderr():
        written: bytes = mlir_quantize(calibrated, denylisted_nodes=_in_float(calibrated))
    return written


def _converter(model: Path) -> tuple[Any, tuple[int, int, int]]:
    """Give TensorFlow's converter of a model, and the shape of its images."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet_stderr():
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = keras_file.read(model)
    shape = tuple(loaded.input_shape[1:])
    if len(shape) != 3 or None in shape:  # noqa: PLR2004 - height, width, channels
        raise ConfigError(f"{model} takes {shape}; it must take height x width x channels")
    spec = tf.TensorSpec((None, *shape), tf.uint8, name="pixels")
    traced = tf.function(lambda pixels: loaded(pixels, training=False), input_signature=[spec])
    # The converter cannot calibrate what still has variables.
    constant = convert_variables_to_constants_v2(traced.get_concrete_function())
    return tf.lite.TFLiteConverter.from_concrete_functions([constant]), shape


def _converted(converter: Any, model: Path) -> bytes:  # noqa: ANN401 - TensorFlow has no types
    try:
        with quiet_stderr():
            written: bytes = converter.convert()
    except Exception as error:  # its own error has no public name
        said = str(error).strip().splitlines() or ["no reason given"]
        raise ConfigError(f"LiteRT cannot take {model}: {said[0][:200]}") from error
    return written


def _in_float(calibrated: bytes) -> Sequence[str]:
    """Name the operations, each by what it gives, that are not to become int8."""
    import tensorflow as tf

    from models.exports.int8 import SMALL

    interpreter = tf.lite.Interpreter(model_content=calibrated)
    tensors = {one["index"]: one for one in interpreter.get_tensor_details()}
    operations = interpreter._get_ops_details()  # noqa: SLF001 - the order of operations is told nowhere else
    sizes = {
        number: int(np.prod(tensors[one["inputs"][1]]["shape"]))
        for number, one in enumerate(operations)
        if one["op_name"] in WEIGHTED
    }
    if not sizes:
        raise ConfigError("int8 needs convolutions or dense layers; there are none")
    first, last, small = min(sizes), max(sizes), SMALL * sum(sizes.values())
    return [
        tensors[one["outputs"][0]]["name"]
        for number, one in enumerate(operations)
        if not first < number < last and sizes.get(number, 0) <= small
    ]


if __name__ == "__main__":
    serve(_float, int8=_int8)
