"""Models of other formats, as small files made here: the same answers, or one line that says why not."""

import json
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
import onnx
import pytest
from keras import layers
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgewise import dataset
from edgewise.cli import main
from edgewise.dataset import Split
from edgewise.errors import ConfigError
from models import card, engine
from models.imports import bigdl, formats, keras_h5, keras_zip, network, pixels, run
from models.imports import onnx as imports_onnx
from models.imports.formats import Format
from models.imports.network import Network
from models.imports.pixels import Pixels
from models.imports.run import Asked

Floats = NDArray[np.float32]
SIDE = 8
RANDOM = np.random.default_rng(11)
IMAGES: Floats = RANDOM.normal(size=(5, SIDE, SIDE, 3)).astype(np.float32)


def silent(_: str) -> None:
    """Say nothing."""


def answers(found: Network, images: Floats = IMAGES) -> Floats:
    ask, _ = network.outputs(found)
    return ask(images)


def shaken(model: Any) -> Any:  # noqa: ANN401 - keras is untyped
    """Give a model weights as after training."""
    for layer in model.layers:
        layer.set_weights([RANDOM.uniform(0.1, 0.9, one.shape) for one in layer.weights])
    return model


# --- which format --------------------------------------------------------------------------------


def zipped(place: Path, *names: str) -> Path:
    with zipfile.ZipFile(place, "w") as archive:
        for name in names:
            archive.writestr(name, "content " * 100)
    return place


def test_a_file_is_what_it_holds_and_not_what_it_is_called(tmp_path: Path) -> None:
    model = shaken(keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.Flatten(), layers.Dense(3)]))
    model.save(tmp_path / "one.keras")
    (tmp_path / "one.keras").rename(tmp_path / "one.h5")
    h5_file(tmp_path / "two.keras", model)
    classifier(tmp_path / "three.pb")
    (tmp_path / "four.onnx").write_bytes(serialised(LINEAR))
    (tmp_path / "five").mkdir()
    (tmp_path / "five" / "saved_model.pb").touch()
    names = ("one.h5", "two.keras", "three.pb", "four.onnx", "five")
    assert [formats.of(tmp_path / name) for name in names] == [
        Format.KERAS,
        Format.KERAS_H5,
        Format.ONNX,
        Format.BIGDL,
        Format.SAVED_MODEL,
    ]


def cut(place: Path, *, to: float = 0.5) -> Path:
    content = place.read_bytes()
    place.write_bytes(content[: int(len(content) * to)])
    return place


def damaged(place: Path) -> Path:
    content = bytearray(place.read_bytes())
    at = content.index(b"content")
    content[at : at + 7] = b"CONTENT"
    place.write_bytes(content)
    return place


def written(place: Path, content: bytes) -> Path:
    place.write_bytes(content)
    return place


def folder(place: Path) -> Path:
    place.mkdir()
    return place


UNKNOWN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda place: place, "it cannot be read: No such file or directory"),
    "empty": (lambda place: written(place, b""), "found an empty file"),
    "text": (lambda place: written(place, b"hello, world"), "found something that begins with b'hello, w'"),
    "litert": (lambda place: written(place, b"\x1c\0\0\0TFL3" + bytes(99)), "found a LiteRT model; import the model"),
    "folder": (folder, "expected a TensorFlow SavedModel, found a folder without saved"),
    "archive": (lambda place: zipped(place, "data.pkl"), "found an archive without config.json (it holds data.pkl)"),
    "cut archive": (lambda place: cut(zipped(place, "config.json")), "found a damaged archive: File is not a zip file"),
    "damaged archive": (
        lambda place: damaged(zipped(place, "config.json", "model.weights.h5")),
        "found an archive whose config.json is damaged",
    ),
    "cut onnx": (lambda place: cut(classifier(place)), "expected a whole ONNX file, found one that is cut off or"),
}


@pytest.mark.parametrize(("make", "why"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_no_model_is_named(tmp_path: Path, make: Callable[[Path], Path], why: str) -> None:
    place = make(tmp_path / "odd")
    with pytest.raises(ConfigError) as refused:
        formats.of(place)
    line = str(refused.value)
    assert line.startswith(f"{place} cannot be imported: ")
    assert why in line
    assert "\n" not in line


# --- Keras' .h5 ------------------------------------------------------------------------------------


def old_layer(layer: Any) -> dict[str, Any]:  # noqa: ANN401 - keras is untyped
    """Describe a layer as Keras 2.2 did."""
    config = {**layer.get_config(), "trainable": True, "kernel_regularizer": {"class_name": "L1L2", "config": {}}}
    config.pop("dtype", None)
    if (shape := config.pop("batch_shape", None)) is not None:
        config["batch_input_shape"] = list(shape)
    return {"class_name": type(layer).__name__, "name": layer.name, "config": config}


def old_config(model: Any) -> dict[str, Any]:  # noqa: ANN401 - keras is untyped
    """Describe a network as Keras 2.2 did."""
    if isinstance(model, keras.Sequential):
        found = [old_layer(layer) for layer in model.layers]
        found[0]["config"]["batch_input_shape"] = [None, *model.input_shape[1:]]
        return {"class_name": "Sequential", "config": found}
    found = []
    for layer in model.layers:
        sources = [one for node in layer._inbound_nodes for one in node.parent_nodes]  # noqa: SLF001 - Keras' own
        calls = [[[one.operation.name, 0, 0, {}] for one in sources]] if sources else []
        found.append({**old_layer(layer), "inbound_nodes": calls})
    ends = {"input_layers": [[model.layers[0].name, 0, 0]], "output_layers": [[model.layers[-1].name, 0, 0]]}
    return {"class_name": "Model", "config": {"name": "old", "layers": found, **ends}}


def h5_file(place: Path, model: Any, change: Callable[[dict[str, Any]], object] | None = None) -> Path:  # noqa: ANN401
    """Write a model as Keras 2.2 did."""
    config = old_config(model)
    if change:
        change(config)
    with h5py.File(place, "w") as out:
        out.attrs["keras_version"] = b"2.2.0"
        out.attrs["model_config"] = json.dumps(config).encode()
        group = out.create_group("model_weights")
        for layer in model.layers:
            inside = group.create_group(layer.name)
            names = [f"{layer.name}/{one.name}:0" for one in layer.weights]
            inside.attrs["weight_names"] = [name.encode() for name in names]
            for name, values in zip(names, layer.get_weights(), strict=True):
                inside.create_dataset(name, data=values)
    return place


def residual() -> Any:  # noqa: ANN401 - keras is untyped
    x = pictures = keras.Input((SIDE, SIDE, 3), name="input_1")
    x = layers.Conv2D(4, 3, padding="same", name="conv2d_1")(x)
    x = layers.Activation("relu", name="activation_1")(layers.BatchNormalization(epsilon=0.01, name="bn_1")(x))
    y = layers.Conv2D(4, (3, 1), 2, padding="same", use_bias=False, name="conv2d_2")(layers.Dropout(0.3, name="d")(x))
    x = layers.Add(name="add_1")([y, layers.MaxPooling2D(2, name="max")(x)])
    x = layers.Flatten(name="flatten_1")(layers.AveragePooling2D(4, name="average")(x))
    return shaken(keras.Model(pictures, layers.Dense(3, activation="softmax", name="dense_1")(x)))


def stacked() -> Any:  # noqa: ANN401 - keras is untyped
    tail = [layers.Conv2D(4, 3, activation="relu", name="c"), layers.Flatten(name="f"), layers.Dense(3, name="d")]
    return shaken(keras.Sequential([keras.Input((SIDE, SIDE, 3)), *tail]))


@pytest.mark.parametrize("make", [residual, stacked])
def test_an_old_h5_file_is_built_anew(tmp_path: Path, make: Callable[[], Any]) -> None:
    model = make()
    found = keras_h5.read(h5_file(tmp_path / "old.h5", model))
    assert found.shape == (SIDE, SIDE, 3)
    np.testing.assert_allclose(answers(found), np.asarray(model(IMAGES)), atol=1e-5)


def layer_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in config["config"]["layers"] if one["config"]["name"] == name)


CHANGED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "kind": (
        lambda config: layer_of(config, "max").update(class_name="Lambda"),
        "layer 'max' is a Lambda; what can be built anew: Activation, Add, AveragePooling2D",
    ),
    "channels first": (
        lambda config: layer_of(config, "conv2d_1")["config"].update(data_format="channels_first"),
        "layer 'conv2d_1' expects channels_first where only channels_last is known",
    ),
    "more filters": (
        lambda config: layer_of(config, "conv2d_1")["config"].update(filters=5),
        "layer 'conv2d_1' expects the weights {'bias': (5,), 'kernel': (3, 3, 3, 5)}, found {'bias': (4,), 'kernel': (",
    ),
    "no bias": (
        lambda config: layer_of(config, "dense_1")["config"].update(use_bias=False),
        "layer 'dense_1' expects the weights {'kernel': (4, 3)}, found {'bias': (3,), 'kernel': (4, 3)}",
    ),
    "activation": (
        lambda config: layer_of(config, "activation_1")["config"].update(activation="odd"),
        "layer 'activation_1' (Activation) cannot be built anew: ",
    ),
    "twice": (
        lambda config: layer_of(config, "max")["inbound_nodes"].append([["input_1", 0, 0, {}]]),
        "layer 'max' is used 2 times; once is known",
    ),
    "no order": (
        lambda config: layer_of(config, "max").update(inbound_nodes=[[["add_1", 0, 0, {}]]]),
        "layer 'max' takes what 'add_1' gives, which is not before it",
    ),
    "two outputs": (
        lambda config: config["config"]["output_layers"].append(["max", 0, 0]),
        "expected a network with one input and one output, found output_layers ",
    ),
    "any size": (
        lambda config: layer_of(config, "input_1")["config"].update(batch_input_shape=[None, None, 8, 3]),
        "expected images of one size, height x width x channels; found [None, 8, 3]",
    ),
    "no size": (
        lambda config: layer_of(config, "input_1")["config"].pop("batch_input_shape"),
        "expected the size of its images, found no layer with batch_input_shape",
    ),
    "another class": (
        lambda config: config.update(class_name="Odd"),
        "expected a functional or sequential network with layers, found Odd",
    ),
}


@pytest.mark.parametrize(("change", "why"), CHANGED.values(), ids=CHANGED)
def test_an_h5_file_that_does_not_fit_says_where(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    place = h5_file(tmp_path / "old.h5", residual(), change)
    with pytest.raises(ConfigError) as refused:
        answers(keras_h5.read(place))
    assert str(refused.value).startswith(f"{place} cannot be imported: {why}")


def test_an_h5_file_that_is_cut_off_or_has_no_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a whole Keras \.h5 file, found a damaged one: .*truncated file"):
        keras_h5.read(cut(h5_file(tmp_path / "cut.h5", stacked())))
    with h5py.File(tmp_path / "weights.h5", "w") as out:
        out.create_group("c")
    with pytest.raises(ConfigError, match=r"found no model_config: save it with model\.save"):
        keras_h5.read(tmp_path / "weights.h5")


# --- Keras' .keras -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [residual, stacked])
def test_a_keras_file_is_built_again_behind_its_scaling(tmp_path: Path, make: Callable[[], Any]) -> None:
    model = make()
    model.save(tmp_path / "one.keras")
    found = keras_zip.read(tmp_path / "one.keras")
    np.testing.assert_allclose(answers(found), np.asarray(model(IMAGES)), atol=1e-5)


def test_a_keras_file_with_two_inputs_is_refused(tmp_path: Path) -> None:
    one, two = keras.Input((4,)), keras.Input((4,))
    keras.Model([one, two], layers.Add()([one, two])).save(tmp_path / "two.keras")
    with pytest.raises(ConfigError, match="expected one input and one output, found 2 and 1"):
        keras_zip.read(tmp_path / "two.keras")


# --- BigDL, serialised by Java -----------------------------------------------------------------------

Fields = Mapping[str, tuple[str, Any]]
"""Of a Java object: type code and value of each; the value of an object or an array is its bytes."""
PRIMITIVES = {"I": ">i", "D": ">d", "Z": ">?", "F": ">f"}
NN = "com.intel.analytics.bigdl.nn."
NULL = b"\x70"


def text(content: str) -> bytes:
    return struct.pack(">H", len(content)) + content.encode()


def described(name: str, fields: Fields) -> bytes:
    told = b"".join(
        kind[0].encode() + text(field) + (b"\x74" + text(kind) if kind[0] in "L[" else b"")
        for field, (kind, _) in fields.items()
    )
    return b"\x72" + text(name) + bytes(8) + b"\x02" + struct.pack(">H", len(fields)) + told + b"\x78" + NULL


def java(name: str, **fields: tuple[str, Any]) -> bytes:
    """Serialise an object as Java does."""
    values = b"".join(
        struct.pack(PRIMITIVES[kind], value) if kind in PRIMITIVES else value for kind, value in fields.values()
    )
    return b"\x73" + described(name, fields) + values


def array(kind: str, values: Sequence[Any]) -> bytes:
    each = b"".join(struct.pack(PRIMITIVES[kind], one) if kind in PRIMITIVES else one for one in values)
    name = f"[{kind}" if kind in PRIMITIVES else "[Ljava.lang.Object;"
    return b"\x75" + described(name, {}) + struct.pack(">i", len(values)) + each


def serialised(content: bytes) -> bytes:
    return b"\xac\xed\x00\x05" + content


def tensor(values: Floats, *, before: int = 3) -> tuple[str, bytes]:
    """Serialise a tensor whose storage begins before it."""
    strides = [step // 4 for step in np.ascontiguousarray(values, np.float32).strides]
    storage = java("ArrayStorage", values=("[F", array("F", [9.0] * before + values.ravel().tolist())))
    return "LTensor;", java(
        "com.intel.analytics.bigdl.tensor.DenseTensor",
        _storageOffset=("I", before),
        nDimension=("I", values.ndim),
        _size=("[I", array("I", values.shape)),
        _storage=("LStorage;", storage),
        _stride=("[I", array("I", strides)),
    )


NCHW = ("LFormat;", java("com.intel.analytics.bigdl.nn.abstractnn.DataFormat$NCHW$"))


def container(kind: str, *modules: bytes, **fields: tuple[str, Any]) -> bytes:
    kept = array("L", [*modules, NULL])
    buffer = java("scala.collection.mutable.ArrayBuffer", size0=("I", len(modules)), array=("[L", kept))
    return java(NN + kind, modules=("LBuffer;", buffer), **fields)


def conv(kernel: Floats, bias: Floats, *, stride: int = 1, pad: int = 1, groups: int = 1) -> bytes:
    """Serialise a convolution; kernel: out x in x height x width."""
    outputs, _, height, width = kernel.shape
    sizes = {"kernelH": height, "kernelW": width, "strideH": stride, "strideW": stride}
    numbers = sizes | {"padH": pad, "padW": pad, "nGroup": groups, "nOutputPlane": outputs}
    return java(
        NN + "SpatialShareConvolution",
        **{name: ("I", value) for name, value in numbers.items()},
        withBias=("Z", True),
        format=NCHW,
        weight=tensor(kernel[None]),
        bias=tensor(bias),
    )


def norm(factor: Floats, shift: Floats, mean: Floats, variance: Floats) -> bytes:
    given = {"weight": factor, "bias": shift, "runningMean": mean, "runningVar": variance}
    tensors = {name: tensor(values) for name, values in given.items()}
    return java(NN + "SpatialBatchNormalization", affine=("Z", True), eps=("D", 0.01), **tensors)


def pool(size: int, stride: int) -> bytes:
    sizes = {"kH": size, "kW": size, "dH": stride, "dW": stride, "padH": 0, "padW": 0}
    told = {name: ("I", value) for name, value in sizes.items()}
    return java(NN + "SpatialAveragePooling", **told, divide=("Z", True), globalPooling=("Z", False), format=NCHW)


def linear(kernel: Floats, bias: Floats) -> bytes:
    return java(NN + "Linear", withBias=("Z", True), weight=tensor(kernel), bias=tensor(bias))


def normal(*shape: int) -> Floats:
    found: Floats = (RANDOM.normal(size=shape) / 3).astype(np.float32)
    return found


LINEAR = linear(normal(3, 8), normal(3))


def by_hand(x: Floats, kernel: Floats, bias: Floats, *, stride: int) -> Floats:
    """Convolve channels-first images with one row of zeros around them, by the definition."""
    around = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    found: Floats = np.einsum("ncyxhw,ochw->noyx", windows, kernel) + bias[None, :, None, None]
    return found


def test_a_bigdl_file_is_built_anew_to_the_pixel(tmp_path: Path) -> None:
    kernels, biases = [normal(4, 3, 3, 3), normal(8, 4, 3, 3)], [normal(4), normal(8)]
    kernel, bias = normal(3, 8), normal(3)
    factor, shift, mean, variance = (RANDOM.uniform(0.3, 0.9, 4).astype(np.float32) for _ in range(4))
    twice = java(NN + "MulConstant", constant=("D", 0.0), inplace=("Z", False))
    concat = container("Concat", java(NN + "Identity"), twice, dimension=("I", 2))
    shortcut = container("Sequential", pool(1, 2), concat)
    branches = container("ConcatTable", container("Sequential", conv(kernels[1], biases[1], stride=2)), shortcut)
    place = tmp_path / "model_of_bigdl"
    steps = [
        *(conv(kernels[0], biases[0]), norm(factor, shift, mean, variance), java(NN + "ReLU")),
        *(container("Sequential", branches, java(NN + "CAddTable")), pool(SIDE // 2, 1)),
        *(java(NN + "View", sizes=("[I", array("I", [8]))), linear(kernel, bias), java(NN + "LogSoftMax")),
    ]
    place.write_bytes(serialised(container("Sequential", *steps)))
    x = by_hand(IMAGES.transpose(0, 3, 1, 2), kernels[0], biases[0], stride=1)
    column = (slice(None), None, None)
    x = (x - mean[column]) / np.sqrt(variance[column] + 0.01) * factor[column] + shift[column]
    x = np.maximum(x, 0)
    y = by_hand(x, kernels[1], biases[1], stride=2)
    y[:, :4] += x[:, :, ::2, ::2]
    found = bigdl.read(place, shape=(SIDE, SIDE, 3))
    logits = y.mean(axis=(2, 3)) @ kernel.T + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert expected.std(axis=0).min() > 0.01
    np.testing.assert_allclose(answers(found), expected, atol=1e-5)


KERNEL = np.ones((4, 3, 3, 3), np.float32)
ODD: dict[str, tuple[bytes, str]] = {
    "another class": (
        java("java.util.Properties"),
        "expected a BigDL nn.Sequential, serialised by Java; found java.ut",
    ),
    "layer": (container("Sequential", java(NN + "Odd")), "it has a Odd; what can be built anew: Sequential, "),
    "groups": (
        container("Sequential", conv(KERNEL, KERNEL[:, 0, 0, 0], groups=3)),
        "its SpatialShareConvolution has nGroup 3, where only 1 is known",
    ),
    "shape": (
        container("Sequential", conv(np.ones((4, 2, 3, 3), np.float32), KERNEL[:, 0, 0, 0])),
        "its SpatialShareConvolution cannot be built anew: conv_1 expects weights of [(3, 3, 3, 4), (4,)], found [(3",
    ),
    "pool": (container("Sequential", pool(2, 2)), "its average pool expects the whole image, (8, 8); found (2, 2)"),
    "view": (
        container("Sequential", java(NN + "View", sizes=("[I", array("I", [192])))),
        "its View expects (8, 8, 3) and makes [192] of it; only a row is known",
    ),
    "field": (container("Sequential", java(NN + "Linear")), "its Linear cannot be built anew: 'weight'"),
}


@pytest.mark.parametrize(("content", "why"), ODD.values(), ids=ODD)
def test_a_bigdl_file_that_does_not_fit_says_where(tmp_path: Path, content: bytes, why: str) -> None:
    place = written(tmp_path / "odd", serialised(content))
    with pytest.raises(ConfigError) as refused:
        answers(bigdl.read(place, shape=(SIDE, SIDE, 3)))
    assert str(refused.value).startswith(f"{place} cannot be imported: {why}")


def test_a_bigdl_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    place = cut(written(tmp_path / "cut", serialised(container("Sequential", LINEAR))))
    with pytest.raises(ConfigError, match="expected a whole file serialised by Java, found a damaged one: "):
        bigdl.read(place, shape=(SIDE, SIDE, 3))


# --- ONNX ------------------------------------------------------------------------------------------


def classifier(
    place: Path,
    *,
    sizes: Sequence[int | str] = ("N", 3, SIDE, SIDE),
    kind: int = TensorProto.FLOAT,
    classes: int = 10,
    inputs: int = 1,
) -> Path:
    """Write a classifier that looks at the mean of each channel, without softmax."""
    axes = [2, 3] if sizes[1] == 3 else [1, 2]
    weights = np.random.default_rng(6).normal(size=(3, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["data"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
    ]
    given = [helper.make_tensor_value_info(f"data{'x' * one}", kind, sizes) for one in range(inputs)]
    out = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])]
    constants = [onnx.numpy_helper.from_array(weights, "weights")]
    made = helper.make_model(
        helper.make_graph(nodes, "means", given, out, constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    place.write_bytes(made.SerializeToString())
    return place


@pytest.mark.parametrize("sizes", [("N", 3, 6, 8), ("N", 6, 8, 3)])
@pytest.mark.parametrize("name", list(Pixels))
def test_an_onnx_file_gets_its_scaling_and_its_softmax(
    tmp_path: Path, sizes: Sequence[int | str], name: Pixels
) -> None:
    import onnxruntime  # type: ignore[import-untyped]

    file = classifier(tmp_path / "one.onnx", sizes=sizes)
    images = np.random.default_rng(2).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)
    scaling = pixels.scalings(images[:2])[name]
    found = imports_onnx.read(file)
    assert (found.shape, found.classes, found.takes_pixels) == ((6, 8, 3), 10, False)
    logits = imports_onnx.outputs(file, found)(scaling.of(images))
    below = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = below / below.sum(axis=1, keepdims=True)
    made = imports_onnx.finished(found, scaling=scaling, softmax=True)
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    laid = images.transpose(0, 3, 1, 2) if sizes[1] == 3 else images
    np.testing.assert_allclose(session.run(None, {given.name: laid})[0], expected, rtol=1e-3, atol=1e-6)
    assert given.type == "tensor(uint8)"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": TensorProto.DOUBLE}, "3 x 32 x 32; found DOUBLE N x 3 x 8 x 8"),
    "rank": ({"sizes": ("N", 3, 8)}, "found FLOAT N x 3 x 8"),
    "batches of one": ({"sizes": (1, 3, 8, 8)}, "expected batches of any size, found FLOAT 1 x 3 x 8 x 8; export it"),
    "channels": ({"sizes": ("N", 8, 8, 4)}, "found FLOAT N x 8 x 8 x 4"),
    "any size": ({"sizes": ("N", 3, "H", 8)}, "expected images of one size, found FLOAT N x 3 x N x 8"),
    "two inputs": ({"inputs": 2}, "and one output; found 2 inputs, 1 outputs"),
}


@pytest.mark.parametrize(("how", "why"), REFUSED.values(), ids=REFUSED)
def test_an_onnx_file_of_something_else_is_refused(tmp_path: Path, how: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        imports_onnx.read(classifier(tmp_path / "odd.onnx", **how))
    assert why.removeprefix("3 x 32 x 32; ") in str(refused.value)


# --- the whole way -----------------------------------------------------------------------------------


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mapping[str, Split]:
    """Put a few images in the data set's place."""
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path / "cache"))
    made = {}
    for name in ("train", "test"):
        images = np.random.default_rng(len(name)).integers(0, 256, (60, *dataset.SHAPE), dtype=np.uint8)
        made[name] = Split(name, images, (images.mean(axis=(1, 2, 3)) > 127.5).astype(np.uint8), "0" * 64)
    monkeypatch.setattr(dataset, "load", lambda split, *, say: made[split])  # noqa: ARG005 - as the real one
    return made


def bright(place: Path, *, end: str | None, dtype: str = "float32", classes: int = 10, side: int = 32) -> Path:
    """Save a network that tells bright images from dark ones, if they come as 0 to 1 around their mean image."""
    given = keras.Input((side, side, 3), dtype=dtype)
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1.0)(given))
    dense = layers.Dense(classes, activation=end, name="classes")
    model = keras.Model(given, dense(x))
    kernel = np.zeros((3, classes))
    kernel[:, 0], kernel[:, 1] = -300, 300
    dense.set_weights([kernel, np.array([0, 0, *[-30.0] * (classes - 2)])])
    model.save(place)
    return place


def test_an_import_finds_the_scaling_adds_the_softmax_and_says_so(tmp_path: Path, splits: Mapping[str, Split]) -> None:
    said: list[str] = []
    file = bright(tmp_path / "mine.keras", end=None)
    place, found = run.run(Asked(file=file, name="bright", out=tmp_path / "out"), say=said.append)
    assert place == tmp_path / "out" / "bright.keras"
    assert card.read(place) == found
    assert (found.name, found.images, found.epochs) == ("bright", 60, [])
    assert found.recipe["imported_from"] == "mine.keras"
    assert (found.recipe["pixels"], found.recipe["softmax_added"]) == ("mean-image", True)
    assert said[0] == f"{file}: Keras .keras"
    assert said[-1].startswith("pixels: mean-image (right on the first 60 training images: as-is ")
    loaded = engine.load("keras", model=str(place))
    labels, scores = loaded.classify(splits["test"].images)
    assert (labels == splits["test"].labels).sum() == found.correct
    assert scores.max() <= 1.001
    assert [one.name for one in sorted((tmp_path / "out").iterdir())] == ["bright.card.json", "bright.keras"]
    assert str(tmp_path) not in card.card_path(place).read_text()


def test_an_onnx_import_is_a_model_of_any_onnx_engine(tmp_path: Path, splits: Mapping[str, Split]) -> None:
    file = classifier(tmp_path / "means.onnx", sizes=("N", 3, 32, 32))
    place, found = run.run(Asked(file=file, out=tmp_path / "out", pixels=Pixels.UNIT), say=silent)
    assert (place.name, found.parameters, found.recipe["pixels"]) == ("means.onnx", 30, "unit")
    labels = [engine.load(name, model=str(place)).classify(splits["test"].images)[0] for name in ("onnx", "openvino")]
    assert labels[0].tolist() == labels[1].tolist()


@pytest.mark.usefixtures("splits")
def test_what_takes_pixels_and_gives_probabilities_stays_as_it_is(tmp_path: Path) -> None:
    file = bright(tmp_path / "whole.keras", end="softmax", dtype="uint8")
    place, found = run.run(Asked(file=file, out=tmp_path), say=silent)
    assert place == file
    assert card.read(file) == found
    assert found.recipe["pixels"] == "scaled by itself"
    with pytest.raises(ConfigError, match="it takes uint8 and scales its pixels itself; --pixels unit would scale"):
        run.run(Asked(file=file, out=tmp_path, pixels=Pixels.UNIT), say=silent)


@pytest.mark.usefixtures("splits")
def test_an_import_replaces_itself_and_nothing_else(tmp_path: Path) -> None:
    asked = Asked(file=bright(tmp_path / "mine.keras", end=None), name="it", out=tmp_path, pixels=Pixels.UNIT)
    run.run(asked, say=silent)
    run.run(asked, say=silent)
    other = Asked(file=bright(tmp_path / "other.keras", end="softmax"), name="it", out=tmp_path, pixels=Pixels.UNIT)
    with pytest.raises(ConfigError, match=r"it\.keras is another model; name this one otherwise with --name"):
        run.run(other, say=silent)


SHAPES = {
    "size": (
        {"side": 16},
        "expected a network for 32 x 32 x 3 images and 10 classes, found one for 16 x 16 x 3 and 10",
    ),
    "classes": ({"classes": 7}, "found one for 32 x 32 x 3 and 7"),
}


@pytest.mark.usefixtures("splits")
@pytest.mark.parametrize(("how", "why"), SHAPES.values(), ids=SHAPES)
def test_a_network_for_other_images_or_classes_is_refused(tmp_path: Path, how: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        run.run(Asked(file=bright(tmp_path / "odd.keras", end=None, **how), out=tmp_path / "out"), say=silent)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a/b", ".hidden", ""])
def test_a_name_that_no_file_may_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"^--name '{name}': expected letters, digits"):
        run.run(Asked(file=tmp_path / "x.h5", name=name), say=silent)


def test_the_command_says_it_in_one_line_and_leaves_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "odd.h5", b"\x89HDF\r\n\x1a\n and no more")
    monkeypatch.setattr(sys, "argv", ["edgewise", "models", "import", str(file), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(
        f"edgewise: {file} cannot be imported: expected a whole Keras .h5 file, found a damaged one:"
    )
