"""BigDL's own model files: a tree of layers, serialised by Java.

Built anew in Keras' layers, to the pixel: a padding on all sides is a layer of its own,
because with strides of 2 it is not what Keras calls ``same``, and the shortcut that takes
every second pixel and appends channels of zeros is a convolution of one pixel by a matrix
of ones and zeros, which every engine knows.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.imports.network import Network, Tensor
from models.imports.refusal import first_line, refused

Weights = NDArray[np.float32]
CONVOLUTIONS: Final = ("SpatialConvolution", "SpatialShareConvolution")
CHANNELS: Final = 2
"""The dimension of channels, as BigDL counts: from 1, images first."""


@dataclass(frozen=True, slots=True, eq=False)
class _Module:
    """One of BigDL's layers."""

    kind: str
    """Its class, without the package."""
    fields: Mapping[str, Any]
    """As Java wrote them."""
    children: Sequence["_Module"] = field(default_factory=tuple)


def read(file: Path, *, shape: tuple[int, int, int]) -> Network:
    """Read a file; the shape of its images does not stand in it.

    Raises:
        ConfigError: it is cut off, no network, or has a layer that has no place here.
    """
    from javaobj.v2.main import load

    try:
        with file.open("rb") as stored:
            root = load(stored)
    except Exception as error:  # the parser raises what it happens to meet
        raise refused(
            file, f"expected a whole file serialised by Java, found a damaged one: {first_line(error)}"
        ) from error
    name = _class_of(root)
    if not name.startswith("com.intel.analytics.bigdl.") or not name.endswith(".nn.Sequential"):
        raise refused(file, f"expected a BigDL nn.Sequential, serialised by Java; found {name}")
    try:
        module = _module(root)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise refused(
            file, f"expected BigDL's layers with their fields, found one without: {first_line(error)}"
        ) from error
    return Network(shape=shape, build=lambda x, _: _Builder(file).module(module, x))


def _class_of(found: Any) -> str:  # noqa: ANN401 - what a Java file holds
    described = getattr(found, "classdesc", None)
    return str(described.name) if described is not None else type(found).__name__


def _fields(instance: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Collect an object's fields; a subclass' own win over those it inherits."""
    return {one.name: value for inside in instance.field_data.values() for one, value in inside.items()}


def _module(instance: Any) -> _Module:  # noqa: ANN401 - as above
    fields = _fields(instance)
    children = []
    if "modules" in fields:
        buffer = _fields(fields["modules"])
        children = [_module(one) for one in list(buffer["array"])[: buffer["size0"]]]
    return _Module(_class_of(instance).rpartition(".")[2], fields, children)


def _tensor(instance: Any) -> Weights:  # noqa: ANN401 - as above
    """Read a tensor: a window with strides into a storage that several may share."""
    fields = _fields(instance)
    values = np.asarray(_fields(fields["_storage"])["values"], np.float32)
    size, strides = list(fields["_size"])[: fields["nDimension"]], list(fields["_stride"])[: fields["nDimension"]]
    start = int(fields["_storageOffset"])
    last = start + sum((length - 1) * step for length, step in zip(size, strides, strict=True))
    if min(size, default=1) < 1 or start < 0 or min(strides, default=0) < 0 or last >= len(values):
        raise ValueError(f"a tensor of {size} from place {start} in a storage of {len(values)} values")
    window = np.lib.stride_tricks.as_strided(values[start:], size, [step * values.itemsize for step in strides])
    return np.array(window)


class _Builder:
    """One network in Keras' layers."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._made: Counter[str] = Counter()

    def module(self, module: _Module, x: Tensor) -> Tensor:
        """Build a module behind what it takes: a tensor, or several for a table."""
        build = BUILDERS.get(module.kind)
        if build is None:
            raise refused(self._file, f"it has a {module.kind}; what can be built anew: {', '.join(BUILDERS)}")
        try:
            return build(self, module, x)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise refused(self._file, f"its {module.kind} cannot be built anew: {first_line(error)}") from error

    def sequential(self, module: _Module, x: Tensor) -> Tensor:
        for child in _steps(module):
            x = self.module(child, x)
        return x

    def table(self, module: _Module, x: Tensor) -> list[Tensor]:
        return [self.module(child, x) for child in module.children]

    def add(self, _: _Module, x: Sequence[Tensor]) -> Tensor:
        import keras

        return keras.layers.Add(name=self._name("add"))(list(x))

    def conv(self, module: _Module, x: Tensor) -> Tensor:
        import keras

        fields = module.fields
        self._only(module, nGroup=1)
        self._channels_first(module)
        pads, strides = (fields["padH"], fields["padW"]), (fields["strideH"], fields["strideW"])
        kernel = _tensor(fields["weight"])[0].transpose(2, 3, 1, 0)
        bias = [_tensor(fields["bias"])] if fields["withBias"] else []
        name = self._name("conv")
        if min(pads) > 0 or max(pads) > 0:
            x = keras.layers.ZeroPadding2D(pads, name=f"{name}_padding")(x)
        same = "same" if pads == (-1, -1) else "valid"
        size = (fields["kernelH"], fields["kernelW"])
        layer = keras.layers.Conv2D(fields["nOutputPlane"], size, strides, same, use_bias=bool(bias), name=name)
        return _filled(layer, x, [kernel, *bias])

    def norm(self, module: _Module, x: Tensor) -> Tensor:
        import keras

        fields = module.fields
        affine = [_tensor(fields[name]) for name in ("weight", "bias")] if fields["affine"] else []
        moving = [_tensor(fields[name]) for name in ("runningMean", "runningVar")]
        layer = keras.layers.BatchNormalization(
            epsilon=fields["eps"], center=bool(affine), scale=bool(affine), name=self._name("norm")
        )
        return _filled(layer, x, [*affine, *moving])

    def relu(self, _: _Module, x: Tensor) -> Tensor:
        import keras

        return keras.layers.ReLU(name=self._name("relu"))(x)

    def pool(self, module: _Module, x: Tensor) -> Tensor:
        import keras

        self._only(module, padH=0, padW=0, divide=True)
        self._channels_first(module)
        size = (module.fields["kH"], module.fields["kW"])
        if not module.fields["globalPooling"] and size != tuple(x.shape[1:3]):
            raise refused(self._file, f"its average pool expects the whole image, {tuple(x.shape[1:3])}; found {size}")
        return keras.layers.GlobalAveragePooling2D(name=self._name("pool"))(x)

    def shortcut(self, module: _Module, x: Tensor) -> Tensor:
        """Every so many pixels, and channels times a number appended: one convolution of 1 x 1."""
        import keras

        pool, concat = module.children
        self._only(pool, kH=1, kW=1, padH=0, padW=0, divide=True)
        self._channels_first(pool)
        self._only(concat, dimension=CHANNELS)
        factors = [1.0 if child.kind == "Identity" else float(child.fields["constant"]) for child in concat.children]
        channels = int(x.shape[-1])
        kernel = np.concatenate([np.eye(channels, dtype=np.float32) * factor for factor in factors], axis=1)
        strides = (pool.fields["dH"], pool.fields["dW"])
        name = self._name("shortcut")
        layer = keras.layers.Conv2D(kernel.shape[1], 1, strides, use_bias=False, name=name)
        return _filled(layer, x, [kernel[None, None]])

    def view(self, module: _Module, x: Tensor) -> Tensor:
        sizes = [int(size) for size in module.fields["sizes"]]
        if sizes not in ([-1], list(x.shape[1:])):
            raise refused(
                self._file, f"its View expects {tuple(x.shape[1:])} and makes {sizes} of it; only a row is known"
            )
        return x

    def linear(self, module: _Module, x: Tensor) -> Tensor:
        import keras

        kernel = _tensor(module.fields["weight"]).T
        bias = [_tensor(module.fields["bias"])] if module.fields["withBias"] else []
        layer = keras.layers.Dense(kernel.shape[1], use_bias=bool(bias), name=self._name("linear"))
        return _filled(layer, x, [kernel, *bias])

    def identity(self, _: _Module, x: Tensor) -> Tensor:
        """Nothing: it does something in training only, or never."""
        return x

    def softmax(self, _: _Module, x: Tensor) -> Tensor:
        import keras

        return keras.layers.Softmax(name=self._name("softmax"))(x)

    def _name(self, kind: str) -> str:
        self._made[kind] += 1
        return f"{kind}_{self._made[kind]}"

    def _channels_first(self, module: _Module) -> None:
        found = _class_of(module.fields["format"])
        if not found.endswith("NCHW$"):
            raise refused(self._file, f"its {module.kind} expects the format {found}, where only NCHW is known")

    def _only(self, module: _Module, **expected: object) -> None:
        for name, wanted in expected.items():
            if module.fields[name] != wanted:
                found = module.fields[name]
                raise refused(self._file, f"its {module.kind} has {name} {found}, where only {wanted} is known")


BUILDERS: Final = {
    "Sequential": _Builder.sequential,
    "ConcatTable": _Builder.table,
    "CAddTable": _Builder.add,
    **dict.fromkeys(CONVOLUTIONS, _Builder.conv),
    "SpatialBatchNormalization": _Builder.norm,
    "ReLU": _Builder.relu,
    "SpatialAveragePooling": _Builder.pool,
    "shortcut": _Builder.shortcut,
    "View": _Builder.view,
    "Linear": _Builder.linear,
    "Identity": _Builder.identity,
    "Dropout": _Builder.identity,
    "SoftMax": _Builder.softmax,
    "LogSoftMax": _Builder.softmax,
}
"""By BigDL's class; a ``shortcut`` is a pool of 1 x 1 and the Concat behind it."""


def _steps(module: _Module) -> Iterator[_Module]:
    """Give a sequence's modules, a shortcut's two as one."""
    waiting = list(module.children)
    while waiting:
        one = waiting.pop(0)
        if one.kind == "SpatialAveragePooling" and waiting and _appends(waiting[0]):
            one = _Module("shortcut", {}, (one, waiting.pop(0)))
        yield one


def _appends(module: _Module) -> bool:
    return module.kind == "Concat" and all(child.kind in {"Identity", "MulConstant"} for child in module.children)


def _filled(layer: Any, x: Tensor, weights: Sequence[Weights]) -> Tensor:  # noqa: ANN401 - Keras has no types
    """Call a layer, and give it its weights."""
    y = layer(x)
    expected, found = [tuple(one.shape) for one in layer.weights], [one.shape for one in weights]
    if expected != found:
        raise ValueError(f"{layer.name} expects weights of {expected}, found {found}")
    layer.set_weights(list(weights))
    return y
