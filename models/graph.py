"""A network as the exporters see it: plain operations with float32 weights, and nothing of Keras.

What a file format or an engine would have to undo is undone here, once: batch normalisation
is folded into the weights before it, layers that only train are gone, an activation is an
operation of its own. Layouts are Keras' own: images height x width x channels, convolutions
height x width x in x out, dense kernels in x out. Other layouts are the exporters' business.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import ConfigError
from models import keras_file

PIXELS: Final = "pixels"
"""What the first operation takes: the scaled image."""

Weights = NDArray[np.float32]
Exact = NDArray[np.float64]
Model = Any
Layer = Any
"""Keras has no types."""


class Op(StrEnum):
    """All that an exporter must know."""

    CONV = "conv"
    RELU = "relu"
    ADD = "add"
    MAX_POOL = "max_pool"
    GLOBAL_AVERAGE_POOL = "global_average_pool"
    FLATTEN = "flatten"
    DENSE = "dense"
    SOFTMAX = "softmax"


class Padding(StrEnum):
    """What a window does at the edges."""

    SAME = "same"
    VALID = "valid"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One operation."""

    name: str
    """The layer's; an activation taken out of a layer is called layer/activation."""
    op: Op
    inputs: tuple[str, ...]
    """Names of nodes, or PIXELS. An addition has the convolution that is computed last first."""
    shape: tuple[int, ...]
    """Of the output, without the batch: height, width, channels, or the number of values."""
    kernel: tuple[int, int] = (1, 1)
    """Height and width of a convolution's or a pool's window."""
    strides: tuple[int, int] = (1, 1)
    """The window's steps, down and to the right."""
    padding: Padding = Padding.VALID
    weights: Mapping[str, Weights] = field(default_factory=dict)
    """A convolution's and a dense node's ``kernel`` and ``bias``; both are always there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """A network for images of uint8, ending in probabilities."""

    shape: tuple[int, int, int]
    """Height, width, channels of the images."""
    classes: int
    scale: Weights
    """Of each channel: the first node takes pixel * scale + offset."""
    offset: Weights
    nodes: tuple[Node, ...]
    """Each after its inputs; of an addition's branches the first operand's comes last."""
    output: str
    """Name of the node that gives the probabilities: a softmax."""

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Give the shape of a node's output, or of PIXELS."""
        return self.shape if name == PIXELS else next(node.shape for node in self.nodes if node.name == name)

    def pads(self, node: Node) -> tuple[int, int, int, int]:
        """Give the rows and columns that a window's node adds: top, left, bottom, right.

        ``same`` adds as few as the output's size needs, an odd one below or to the right.
        """
        if node.padding is Padding.VALID:
            return (0, 0, 0, 0)
        before = self.shape_of(node.inputs[0])
        needed = [
            max(0, (after - 1) * stride + size - given)
            for after, stride, size, given in zip(node.shape, node.strides, node.kernel, before, strict=False)
        ]
        top, left = (total // 2 for total in needed)
        return (top, left, needed[0] - top, needed[1] - left)


def read(model: Path) -> Graph:
    """Read a ``.keras`` file.

    Raises:
        ConfigError: Keras cannot read it, or it has a layer that has no place in a graph.
    """
    return of(keras_file.read(model))


def of(model: Model) -> Graph:
    """Turn a functional or sequential Keras model into a graph.

    Raises:
        ConfigError: as for ``read``.
    """
    return _Walk(model).graph()


@dataclass(frozen=True, slots=True, eq=False)
class _Affine:
    """Per channel: x * factor + shift."""

    factor: Exact
    shift: Exact

    def then(self, after: "_Affine") -> "_Affine":
        return _Affine(self.factor * after.factor, self.shift * after.factor + after.shift)


class _Walk:
    """From layer to layer, in the order of computation."""

    def __init__(self, model: Model) -> None:
        if not getattr(model, "inputs", None) or len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ConfigError(f"the model {model.name!r} needs one input and one output, both of known shape")
        shape = tuple(model.inputs[0].shape[1:])
        if len(shape) != 3 or None in shape:  # noqa: PLR2004 - height, width, channels
            raise ConfigError(f"the model {model.name!r} takes {shape}; it must take height x width x channels")
        self._model, self._shape = model, (int(shape[0]), int(shape[1]), int(shape[2]))
        self._nodes: dict[str, Node] = {}
        self._depths: dict[str, int] = {PIXELS: 0}
        """Of each node: operations on the longest way from the image."""
        self._scalings = {PIXELS: _Affine(np.ones(shape[2]), np.zeros(shape[2]))}
        """By name, what was done to the pixels alone so far."""
        self._taken: set[str] = set()
        """Those of them that a node takes: in the end exactly one."""
        self._names = {id(model.inputs[0]): PIXELS}
        """Which node, or scaling of the pixels, makes each of Keras' tensors."""
        sequential = not hasattr(model, "operations")
        layers = model.layers if sequential else model.operations
        self._uses = Counter(
            id(tensor) for layer in layers if _kind(layer) != "InputLayer" for tensor in _inputs(layer)
        )
        before = PIXELS
        for layer in layers:
            if _kind(layer) not in KINDS:
                self._refuse(layer, f"is of no kind that is known: {', '.join(KINDS)}")
            if sequential:  # its layers remember tensors of other calls, too
                self._names[id(layer.input)] = before
            KINDS[_kind(layer)](self, layer)
            before = self._name_of(layer.output)
        if sequential:
            self._names[id(model.outputs[0])] = before

    def graph(self) -> Graph:
        """Give what the walk has found."""
        output = self._name_of(self._model.outputs[0], of="the model's end")
        end = self._nodes.get(output)
        if end is None or end.op is not Op.SOFTMAX:
            raise ConfigError(f"the model {self._model.name!r} must end in a softmax over its classes")
        if len(self._taken) != 1:
            raise ConfigError(f"the model {self._model.name!r} scales its pixels in more ways than one")
        scaling = self._scalings[self._taken.pop()]
        return Graph(
            shape=self._shape,
            classes=end.shape[0],
            scale=scaling.factor.astype(np.float32),
            offset=scaling.shift.astype(np.float32),
            nodes=self._ordered(output),
            output=output,
        )

    def _ordered(self, output: str) -> tuple[Node, ...]:
        """Sort the nodes by need; the first operand's branch last, for engines that add into its result."""
        done: dict[str, Node] = {}
        needed = [output]
        while needed:
            node = self._nodes[needed[-1]]
            missing = [name for name in node.inputs if name != PIXELS and name not in done]
            if missing:
                needed.append(missing[-1])
            else:
                done[needed.pop()] = node
        return tuple(done.values())

    # --- what each kind of layer becomes -----------------------------------------------------

    def input(self, layer: Layer) -> None:
        """Nothing: the input's tensor is known."""

    def dropped(self, layer: Layer) -> None:
        """Nothing: it does something in training only, or never."""
        self._become(layer, self._inputs_of(layer)[0])
        self._uses[id(layer.output)] += self._uses[id(layer.input)] - 1

    def rescaling(self, layer: Layer) -> None:
        channels = np.ones(self._shape[2])
        self._scale(layer, _Affine(channels * _values(layer.scale), channels * _values(layer.offset)))

    def normalization(self, layer: Layer) -> None:
        self._only(layer, axis=(-1,), invert=False)
        deviation = np.ones(self._shape[2]) * np.maximum(np.sqrt(_values(layer.variance).reshape(-1)), TINY)
        self._scale(layer, _Affine(1 / deviation, -_values(layer.mean).reshape(-1) / deviation))

    def batch_normalization(self, layer: Layer) -> None:
        if layer.axis not in {-1, len(layer.input.shape) - 1}:
            self._refuse(layer, f"has axis {layer.axis}")
        before = self._inputs_of(layer)[0]
        factor = 1 / np.sqrt(_values(layer.moving_variance) + layer.epsilon)
        if layer.gamma is not None:
            factor *= _values(layer.gamma)
        shift = -_values(layer.moving_mean) * factor
        if layer.beta is not None:
            shift += _values(layer.beta)
        if before in self._scalings:
            self._scale(layer, _Affine(factor, shift))
            return
        node = self._nodes[before]
        if node.op not in {Op.CONV, Op.DENSE} or self._uses[id(layer.input)] > 1:
            self._refuse(layer, "does not follow a convolution or dense layer of its own, without activation")
        kernel, bias = _values(node.weights["kernel"]) * factor, _values(node.weights["bias"]) * factor + shift
        folded = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
        self._nodes[before] = replace(node, weights=folded)
        self._become(layer, before)

    def conv(self, layer: Layer) -> None:
        self._only(layer, groups=1, dilation_rate=(1, 1), data_format="channels_last")
        self._add(layer, Op.CONV, **_window(layer, layer.kernel_size), weights=self._trained(layer))
        self._activate(layer, layer.get_config()["activation"])

    def dense(self, layer: Layer) -> None:
        if len(layer.output.shape) != 2:  # noqa: PLR2004 - images x values
            self._refuse(layer, f"takes {tuple(layer.input.shape[1:])}; put a Flatten before it")
        self._add(layer, Op.DENSE, weights=self._trained(layer))
        self._activate(layer, layer.get_config()["activation"])

    def max_pool(self, layer: Layer) -> None:
        self._only(layer, data_format="channels_last")
        self._add(layer, Op.MAX_POOL, **_window(layer, layer.pool_size))

    def global_average_pool(self, layer: Layer) -> None:
        self._only(layer, data_format="channels_last", keepdims=False)
        self._add(layer, Op.GLOBAL_AVERAGE_POOL)

    def flatten(self, layer: Layer) -> None:
        self._only(layer, data_format="channels_last")
        if len(layer.input.shape) == len(layer.output.shape):
            self.dropped(layer)
        else:
            self._add(layer, Op.FLATTEN)

    def add(self, layer: Layer) -> None:
        if len({tuple(tensor.shape) for tensor in _inputs(layer)}) != 1:
            self._refuse(layer, "adds different shapes")
        self._add(layer, Op.ADD)
        node = self._nodes[layer.name]
        convs = [name for name in node.inputs if name != PIXELS and self._nodes[name].op is Op.CONV]
        last = max(convs, key=lambda name: self._depths[name], default=node.inputs[0])
        others = list(node.inputs)
        others.remove(last)
        self._nodes[layer.name] = replace(node, inputs=(last, *others))

    def activation(self, layer: Layer) -> None:
        self.dropped(layer)
        self._activate(layer, layer.get_config()["activation"], name=layer.name)

    def relu(self, layer: Layer) -> None:
        self._only(layer, max_value=None, negative_slope=0, threshold=0)
        self._add(layer, Op.RELU)

    def softmax(self, layer: Layer) -> None:
        self._only(layer, axis=-1)
        self._add(layer, Op.SOFTMAX)

    # --- how it is written down --------------------------------------------------------------

    def _activate(self, layer: Layer, activation: object, *, name: str | None = None) -> None:
        """Let what a layer calls its activation follow as an operation of its own."""
        if activation in (None, "linear"):
            return
        if not isinstance(activation, str) or activation not in {Op.RELU, Op.SOFTMAX}:
            self._refuse(layer, f"has the activation {activation}; known are linear, relu, softmax")
        self._put(layer, name or f"{layer.name}/{activation}", Op(activation), (self._name_of(layer.output),))

    def _add(self, layer: Layer, op: Op, **attributes: Any) -> None:  # noqa: ANN401 - Node's own
        self._put(layer, layer.name, op, self._inputs_of(layer), **attributes)

    def _put(self, layer: Layer, name: str, op: Op, inputs: tuple[str, ...], **attributes: Any) -> None:  # noqa: ANN401
        shape = tuple(int(size) for size in layer.output.shape[1:])
        if op is Op.SOFTMAX and len(shape) != 1:
            self._refuse(layer, f"is a softmax over {shape}")
        self._taken.update(self._scalings.keys() & set(inputs))
        inputs = tuple(PIXELS if one in self._scalings else one for one in inputs)
        self._nodes[name] = Node(name=name, op=op, inputs=inputs, shape=shape, **attributes)
        self._depths[name] = 1 + max(self._depths[one] for one in inputs)
        self._become(layer, name)

    def _scale(self, layer: Layer, scaling: _Affine) -> None:
        before = self._inputs_of(layer)[0]
        if before not in self._scalings or scaling.then(scaling).shift.shape != self._shape[2:]:
            self._refuse(layer, "does not scale the image channel by channel")
        self._scalings[layer.name] = self._scalings[before].then(scaling)
        self._become(layer, layer.name)

    def _become(self, layer: Layer, name: str) -> None:
        self._names[id(layer.output)] = name

    def _inputs_of(self, layer: Layer) -> tuple[str, ...]:
        return tuple(self._name_of(tensor, of=f"layer {layer.name!r}") for tensor in _inputs(layer))

    def _name_of(self, tensor: object, *, of: str = "") -> str:
        name = self._names.get(id(tensor))
        if name is None:  # Keras tells of a layer's first use only
            raise ConfigError(f"{of} takes what a layer's second use gives; it cannot be exported; use each once")
        return name

    def _trained(self, layer: Layer) -> dict[str, Weights]:
        kernel = np.asarray(layer.kernel, np.float32)
        bias = np.zeros(kernel.shape[-1], np.float32) if layer.bias is None else np.asarray(layer.bias, np.float32)
        return {"kernel": kernel, "bias": bias}

    def _only(self, layer: Layer, **expected: object) -> None:
        """Refuse settings that change what a layer computes and that no exporter has seen."""
        settings = layer.get_config()
        for name, wanted in expected.items():
            found = settings[name]
            if (tuple(found) if isinstance(found, list) else found) != wanted:
                self._refuse(layer, f"has {name} {found}, where only {wanted} is known")

    def _refuse(self, layer: Layer, why: str) -> NoReturn:
        raise ConfigError(
            f"layer {layer.name!r} ({_kind(layer)}) {why}; it cannot be exported; --engine keras runs every model"
        )


KINDS: Final[dict[str, Callable[[_Walk, Layer], None]]] = {
    "Activation": _Walk.activation,
    "Add": _Walk.add,
    "BatchNormalization": _Walk.batch_normalization,
    "Conv2D": _Walk.conv,
    "Dense": _Walk.dense,
    "Dropout": _Walk.dropped,
    "Flatten": _Walk.flatten,
    "GaussianNoise": _Walk.dropped,
    "GlobalAveragePooling2D": _Walk.global_average_pool,
    "Identity": _Walk.dropped,
    "InputLayer": _Walk.input,
    "MaxPooling2D": _Walk.max_pool,
    "Normalization": _Walk.normalization,
    "ReLU": _Walk.relu,
    "Rescaling": _Walk.rescaling,
    "Softmax": _Walk.softmax,
    "SpatialDropout2D": _Walk.dropped,
}
"""Keras' kinds of layers that have a place in a graph."""
TINY: Final = 1e-7
"""Keras' own guard against a deviation of zero."""


def _kind(layer: Layer) -> str:
    return type(layer).__name__


def _inputs(layer: Layer) -> list[Any]:
    return list(layer.input) if isinstance(layer.input, list | tuple) else [layer.input]


def _window(layer: Layer, size: tuple[int, int]) -> dict[str, Any]:
    return {"kernel": tuple(size), "strides": tuple(layer.strides), "padding": Padding(layer.padding)}


def _values(variable: object) -> Exact:
    return np.asarray(variable, np.float64)
