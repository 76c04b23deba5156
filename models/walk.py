"""How Keras' layers become a graph: from one to the next, in the order of computation."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import ConfigError
from models import keras_file
from models.graph import PIXELS, Graph, Model, Node, Op, Padding, Weights

Exact = NDArray[np.float64]
Margins = tuple[int, int, int, int]
"""Rows and columns of zeros: top, left, bottom, right."""
Layer = Any
"""Keras has no types."""
IMAGE: Final = 3
"""Height, width, channels: so many sizes has an image."""


def read(model: Path) -> Graph:
    """Read a ``.keras`` file.

    Raises:
        ConfigError: Keras cannot read it, or it has a layer that has no place in a graph.
    """
    return walked(keras_file.read(model))


def walked(model: Model) -> Graph:
    """Turn a functional or sequential Keras model into a graph.

    Raises:
        ConfigError: it has a layer that has no place in a graph.
    """
    return _Walk(model).graph()


@dataclass(frozen=True, slots=True, eq=False)
class _Affine:
    """x * factor + shift, for every channel of every pixel."""

    factor: Exact
    shift: Exact

    def then(self, after: "_Affine") -> "_Affine":
        return _Affine(self.factor * after.factor, self.shift * after.factor + after.shift)


class _Walk:
    """One model's."""

    def __init__(self, model: Model) -> None:
        if not getattr(model, "inputs", None) or len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ConfigError(f"the model {model.name!r} needs one input and one output, both of known shape")
        shape = tuple(model.inputs[0].shape[1:])
        if len(shape) != IMAGE or None in shape:
            raise ConfigError(f"the model {model.name!r} takes {shape}; it must take height x width x channels")
        self._model, self._shape = model, (int(shape[0]), int(shape[1]), int(shape[2]))
        self._nodes: dict[str, Node] = {}
        self._depths: dict[str, int] = {PIXELS: 0}
        """Of each node: operations on the longest way from the image."""
        self._scalings = {PIXELS: _Affine(np.ones(shape), np.zeros(shape))}
        """By name, what was done to the pixels alone so far."""
        self._taken: set[str] = set()
        """Those of them that a node takes: in the end exactly one."""
        self._margins: dict[int, Margins] = {}
        """Of each of Keras' tensors that is another one with zeros around it."""
        self._names = {id(model.inputs[0]): PIXELS}
        """Which node, or scaling of the pixels, makes each of Keras' tensors."""
        sequential = not hasattr(model, "operations")
        layers = model.layers if sequential else model.operations
        self._uses = Counter(
            id(tensor) for layer in layers if _kind(layer) != "InputLayer" for tensor in _inputs(layer)
        )
        before, after = PIXELS, model.inputs[0]
        for layer in layers:
            if _kind(layer) not in KINDS:
                self._refuse(layer, f"is of no kind that is known: {', '.join(KINDS)}")
            if sequential:  # its layers remember tensors of other calls, too
                self._names[id(layer.input)] = before
                self._margins |= {id(layer.input): self._margins[id(after)]} if id(after) in self._margins else {}
            KINDS[_kind(layer)](self, layer)
            before, after = self._name_of(layer.output), layer.output
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
            scale=_by_channel(scaling.factor).astype(np.float32),
            offset=_by_channel(scaling.shift).astype(np.float32),
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
        self._scale(layer, _values(layer.scale), _values(layer.offset))

    def normalization(self, layer: Layer) -> None:
        self._only(layer, invert=False)
        # Their first size is that of a batch of one.
        deviation = np.maximum(np.sqrt(_values(layer.variance)[0]), TINY)
        self._scale(layer, 1 / deviation, -_values(layer.mean)[0] / deviation)

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
            self._scale(layer, factor, shift)
            return
        node = self._nodes[before]
        if node.op not in {Op.CONV, Op.DENSE} or self._uses[id(layer.input)] > 1:
            self._refuse(layer, "does not follow a convolution or dense layer of its own, without activation")
        kernel, bias = _values(node.weights["kernel"]) * factor, _values(node.weights["bias"]) * factor + shift
        folded = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
        self._nodes[before] = replace(node, weights=folded)
        self._become(layer, before)

    def zero_padding(self, layer: Layer) -> None:
        """Nothing yet: the convolution behind it adds the zeros."""
        self._only(layer, data_format="channels_last")
        self._become(layer, self._inputs_of(layer)[0])
        (top, bottom), (left, right) = layer.padding
        self._margins[id(layer.output)] = (int(top), int(left), int(bottom), int(right))

    def conv(self, layer: Layer) -> None:
        self._only(layer, groups=1, dilation_rate=(1, 1), data_format="channels_last")
        window = _window(layer, layer.kernel_size)
        if margins := self._margins.get(id(layer.input)):
            if window["padding"] is not Padding.VALID:
                self._refuse(layer, "pads what a ZeroPadding2D has padded")
            window |= {"padding": Padding.EXPLICIT, "margins": margins}
        before = self._name_of(layer.input, of=f"layer {layer.name!r}")
        self._put(layer, layer.name, Op.CONV, (before,), **window, weights=self._trained(layer))
        self._activate(layer, layer.get_config()["activation"])

    def dense(self, layer: Layer) -> None:
        if len(layer.output.shape) != 2:  # noqa: PLR2004 - images x values
            self._refuse(layer, f"takes {tuple(layer.input.shape[1:])}; put a Flatten before it")
        self._add(layer, Op.DENSE, weights=self._trained(layer))
        self._activate(layer, layer.get_config()["activation"])

    def max_pool(self, layer: Layer) -> None:
        self._only(layer, data_format="channels_last")
        self._add(layer, Op.MAX_POOL, **_window(layer, layer.pool_size))

    def average_pool(self, layer: Layer) -> None:
        """Of the whole image only; the Flatten that must follow it has nothing left to do."""
        self._only(layer, data_format="channels_last", pool_size=tuple(layer.input.shape[1:3]), padding="valid")
        self._add(layer, Op.GLOBAL_AVERAGE_POOL, shape=(int(layer.output.shape[-1]),))

    def global_average_pool(self, layer: Layer) -> None:
        self._only(layer, data_format="channels_last", keepdims=False)
        self._add(layer, Op.GLOBAL_AVERAGE_POOL)

    def flatten(self, layer: Layer) -> None:
        self._only(layer, data_format="channels_last")
        before = self._nodes.get(self._inputs_of(layer)[0])
        if len(layer.input.shape) == len(layer.output.shape) or (before and len(before.shape) == 1):
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
        attributes.setdefault("shape", tuple(int(size) for size in layer.output.shape[1:]))
        if op is Op.SOFTMAX and len(attributes["shape"]) != 1:
            self._refuse(layer, f"is a softmax over {attributes['shape']}")
        ranks = {len(self._nodes[one].shape) for one in inputs if one in self._nodes}
        if 1 in ranks and len(_inputs(layer)[0].shape[1:]) == IMAGE:
            self._refuse(layer, "takes an average pool's image of one pixel; put a Flatten between them")
        self._taken.update(self._scalings.keys() & set(inputs))
        inputs = tuple(PIXELS if one in self._scalings else one for one in inputs)
        self._nodes[name] = Node(name=name, op=op, inputs=inputs, **attributes)
        self._depths[name] = 1 + max(self._depths[one] for one in inputs)
        self._become(layer, name)

    def _scale(self, layer: Layer, factor: Exact, shift: Exact) -> None:
        before = self._inputs_of(layer)[0]
        if before not in self._scalings:
            self._refuse(layer, "does not scale the image")
        try:
            scaling = _Affine(np.broadcast_to(factor, self._shape), np.broadcast_to(shift, self._shape))
        except ValueError:
            self._refuse(layer, f"scales by {factor.shape} and {shift.shape}, which is not pixel by pixel")
        self._scalings[layer.name] = self._scalings[before].then(scaling)
        self._become(layer, layer.name)

    def _become(self, layer: Layer, name: str) -> None:
        self._names[id(layer.output)] = name

    def _inputs_of(self, layer: Layer) -> tuple[str, ...]:
        if any(id(tensor) in self._margins for tensor in _inputs(layer)):
            self._refuse(layer, "takes what a ZeroPadding2D gives; only a convolution can")
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
    "AveragePooling2D": _Walk.average_pool,
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
    "ZeroPadding2D": _Walk.zero_padding,
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


def _by_channel(values: Exact) -> Exact:
    """Give one value of each channel where all pixels have the same."""
    return values[0, 0] if (values == values[:1, :1]).all() else values
