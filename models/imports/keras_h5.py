"""Keras' ``.h5`` files, of 2015 to 2023: the network is built anew from the configuration in the file.

Today's Keras reads few of them. The weights are found by the layers' names; what only
matters in training (initialisers, regularisers, the optimizer) is left behind.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import h5py  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from models.imports.network import Network
from models.imports.refusal import first_line, refused

Config = Mapping[str, Any]
Weights = Mapping[str, NDArray[np.float32]]
WINDOW: Final = ("strides", "padding")
SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "Activation": ("activation",),
    "Add": (),
    "AveragePooling2D": ("pool_size", *WINDOW),
    "BatchNormalization": ("axis", "epsilon", "center", "scale"),
    "Conv2D": ("filters", "kernel_size", *WINDOW, "dilation_rate", "groups", "activation", "use_bias"),
    "Dense": ("units", "activation", "use_bias"),
    "Dropout": ("rate",),
    "Flatten": (),
    "GlobalAveragePooling2D": (),
    "MaxPooling2D": ("pool_size", *WINDOW),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Softmax": ("axis",),
    "ZeroPadding2D": ("padding",),
}
"""Kinds of layers that can be built anew, and the settings that change what they compute."""


def read(file: Path) -> Network:
    """Read a file.

    Raises:
        ConfigError: it is cut off, holds no network, or one with layers or weights that do not fit.
    """
    try:
        with h5py.File(file, "r") as stored:
            text = stored.attrs.get("model_config")
            if text is None:
                raise refused(
                    file, "expected a network and its weights, found no model_config: save it with model.save(...)"
                )
            config = json.loads(text)
            weights = _weights(stored["model_weights"])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise refused(file, f"expected a whole Keras .h5 file, found a damaged one: {first_line(error)}") from error
    return _Builder(file, config, weights).network()


def _weights(group: Any) -> dict[str, Weights]:  # noqa: ANN401 - h5py has no types
    """Collect by layer what a file calls ``layer/kernel:0`` or ``layer/scope/kernel:0``."""
    found: dict[str, Weights] = {}
    for layer in group:
        names = [one.decode() if isinstance(one, bytes) else str(one) for one in group[layer].attrs["weight_names"]]
        found[layer] = {
            name.rpartition("/")[2].partition(":")[0]: np.asarray(group[layer][name], np.float32) for name in names
        }
    return found


class _Builder:
    """One network, layer by layer."""

    def __init__(self, file: Path, config: Config, weights: Mapping[str, Weights]) -> None:
        self._file, self._weights = file, weights
        kind, inside = config.get("class_name"), config.get("config", {})
        layers: list[Config] = inside if isinstance(inside, list) else inside.get("layers", [])
        if kind not in {"Model", "Functional", "Sequential"} or not layers:
            raise refused(
                file, f"expected a functional or sequential network with layers, found {kind} with {len(layers)}"
            )
        self._sequential = kind == "Sequential"
        self._layers = layers
        self._inside: Config = inside if isinstance(inside, dict) else {}
        for layer in layers:
            self._check(layer)

    def network(self) -> Network:
        """Give the network."""
        if not self._sequential:
            for end in ("input_layers", "output_layers"):
                if len(_references(self._inside.get(end, []))) != 1:
                    raise refused(
                        self._file,
                        f"expected a network with one input and one output, found {end} {self._inside.get(end)}",
                    )
        return Network(shape=self._shape(), build=self._sequence if self._sequential else self._graph)

    def _shape(self) -> tuple[int, int, int]:
        for layer in self._layers:
            shape = layer["config"].get("batch_input_shape") or layer["config"].get("batch_shape")
            if shape:
                if len(shape) != 4 or None in shape[1:]:  # noqa: PLR2004 - images, height, width, channels
                    raise refused(
                        self._file, f"expected images of one size, height x width x channels; found {shape[1:]}"
                    )
                return (int(shape[1]), int(shape[2]), int(shape[3]))
        raise refused(self._file, "expected the size of its images, found no layer with batch_input_shape")

    def _check(self, layer: Config) -> None:
        kind, config = layer["class_name"], layer["config"]
        if kind not in {"InputLayer", *SETTINGS}:
            known = ", ".join(SETTINGS)
            raise refused(self._file, f"layer {config.get('name')!r} is a {kind}; what can be built anew: {known}")
        if config.get("data_format", "channels_last") != "channels_last":
            raise refused(
                self._file,
                f"layer {config['name']!r} expects {config['data_format']} where only channels_last is known",
            )

    def _sequence(self, x: Any, _: Any) -> Any:  # noqa: ANN401 - Keras' symbolic tensors have no public type
        for layer in self._layers:
            x = self._layer(layer, x)
        return x

    def _graph(self, x: Any, _: Any) -> Any:  # noqa: ANN401 - as above
        made: dict[str, Any] = {}
        for layer in self._layers:
            name = layer["config"]["name"]
            calls = layer["inbound_nodes"]
            if not calls:
                made[name] = x
                continue
            if len(calls) != 1:
                raise refused(self._file, f"layer {name!r} is used {len(calls)} times; once is known")
            sources = [source for source, *_ in calls[0]]
            if missing := [one for one in sources if one not in made]:
                raise refused(self._file, f"layer {name!r} takes what {missing[0]!r} gives, which is not before it")
            inputs = [made[one] for one in sources]
            made[name] = self._layer(layer, inputs if len(inputs) > 1 else inputs[0])
        (output,) = _references(self._inside["output_layers"])
        return made[output]

    def _layer(self, layer: Config, x: Any) -> Any:  # noqa: ANN401 - as above
        """Build one layer, and give it its weights."""
        import keras

        kind, config = layer["class_name"], layer["config"]
        if kind == "InputLayer":
            return x
        settings = {name: config[name] for name in SETTINGS[kind] if name in config}
        if isinstance(settings.get("axis"), list):
            (settings["axis"],) = settings["axis"]
        name = config["name"]
        try:
            made = getattr(keras.layers, kind)(**settings, name=name)
            y = made(x)
        except (TypeError, ValueError) as error:
            raise refused(self._file, f"layer {name!r} ({kind}) cannot be built anew: {first_line(error)}") from error
        self._fill(made, self._weights.get(name, {}))
        return y

    def _fill(self, made: Any, weights: Weights) -> None:  # noqa: ANN401 - as above
        expected = {one.name: tuple(one.shape) for one in sorted(made.weights, key=lambda one: one.name)}
        found = {one: weights[one].shape for one in sorted(weights)}
        if expected != found:
            raise refused(self._file, f"layer {made.name!r} expects the weights {expected}, found {found}")
        made.set_weights([weights[one.name] for one in made.weights])


def _references(ends: Any) -> list[str]:  # noqa: ANN401 - a pair of lists in a list, or one alone
    """Read the names in ``[["layer", 0, 0], ...]``; a single one may stand bare."""
    if ends and isinstance(ends[0], str):
        ends = [ends]
    return [str(one[0]) for one in ends]
