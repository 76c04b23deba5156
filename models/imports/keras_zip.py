"""Keras' own ``.keras`` files, trained on pixels that another program scaled."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import keras_file
from models.imports.network import Network, Tensor
from models.imports.refusal import refused

if TYPE_CHECKING:
    import keras


def read(file: Path, model: "keras.Model | None" = None) -> Network:
    """Read a file; or take a model that was read from it.

    Raises:
        ConfigError: Keras cannot read it, or it does not take one kind of images of one size.
    """
    model = model or keras_file.read(file)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise refused(file, f"expected one input and one output, found {len(model.inputs)} and {len(model.outputs)}")
    shape = tuple(model.inputs[0].shape[1:])
    if len(shape) != 3 or None in shape:  # noqa: PLR2004 - height, width, channels
        raise refused(file, f"expected images of one size, height x width x channels; found {shape}")
    return Network(
        shape=(int(shape[0]), int(shape[1]), int(shape[2])), build=lambda x, pixels: _again(model, x, pixels)
    )


def takes_pixels(model: "keras.Model") -> bool:
    """Say whether a model takes uint8: then what it does to them is its own affair."""
    return all(str(one.dtype) == "uint8" for one in model.inputs)


def _again(model: Any, x: Tensor, pixels: Tensor) -> Tensor:  # noqa: ANN401 - keras is untyped
    """Build a model anew behind a tensor made of ``pixels``, layer by layer, each with its weights."""
    import keras

    def again(layer: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
        given = keras.tree.map_structure(lambda one: x if one is pixels else one, arguments)
        y = layer(*given, **options)
        layer.set_weights(model.get_layer(layer.name).get_weights())
        return y

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            x = again(layer.__class__.from_config(layer.get_config()), x)
        return x
    copy = keras.models.clone_model(model, input_tensors=_alike(model.input, pixels), call_function=again)
    return copy.outputs[0]


def _alike(structure: Any, tensor: Tensor) -> Any:  # noqa: ANN401 - a tensor, or a list or dictionary of one
    import keras

    return keras.tree.map_structure(lambda _: tensor, structure)
