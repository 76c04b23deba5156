"""Keras models as graphs, and the graphs as ONNX: the same probabilities, or a refusal that names the layer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from edgewise.errors import ConfigError
from models import walk
from models.engine import model_file
from models.exports import onnx
from models.graph import PIXELS, Graph, Op, Padding
from models.networks import NETWORKS

Images = NDArray[np.uint8]
Chances = NDArray[np.float32]
Model = Any
Tensor = Any
"""Keras has no types."""
Build = Callable[[Tensor], Tensor]
SHAPE = (11, 8, 2)
CLASSES = 3


def images(shape: tuple[int, int, int], *, count: int) -> Images:
    return np.random.default_rng(7).integers(0, 256, (count, *shape), dtype=np.uint8)


def by_keras(model: Model, batch: Images) -> Chances:
    return np.asarray(model(batch, training=False))


def by_onnx(exported: Graph, batch: Images) -> Chances:
    import onnxruntime  # type: ignore[import-untyped]

    written = onnx.export(exported, identity="made@0123456789ab").SerializeToString()
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    chances: Chances = session.run([onnx.PROBABILITIES], {PIXELS: batch})[0]
    return chances


def made(build: Build) -> Model:
    """Make a model of some layers and a head, with weights as after training: none is zero or one."""
    pixels = keras.Input(SHAPE, dtype="uint8")
    x = build(layers.Rescaling(1 / 255)(pixels))
    x = layers.Flatten()(x) if len(x.shape) > 2 else x
    return shaken(keras.Model(pixels, layers.Dense(CLASSES, activation="softmax", name="head")(x)))


def shaken(model: Model) -> Model:
    """Give a model weights whose answers differ from image to image."""
    random = np.random.default_rng(3)
    for layer in model.layers:
        for variable in layer.weights:
            if variable.name == "kernel":
                variable.assign(random.normal(size=variable.shape) / np.sqrt(np.prod(variable.shape[:-1])))
            else:
                low, high = (0.5, 2.0) if variable.name in {"moving_variance", "gamma"} else (-0.4, 0.6)
                variable.assign(random.uniform(low, high, variable.shape))
    head = model.layers[-1]
    values = np.asarray(keras.Model(model.input, head.input)(images(model.input_shape[1:], count=20)))
    kernel = random.normal(size=head.kernel.shape) / (values.std() * np.sqrt(values.shape[1]))
    head.kernel.assign(kernel)
    head.bias.assign(-(values @ kernel).mean(axis=0))
    return model


@pytest.fixture(scope="module")
def shipped() -> Graph:
    return walk.read(model_file("resnet20"))


# --- the shipped model ---------------------------------------------------------------------------


def test_the_shipped_model_says_what_it_takes_and_gives(shipped: Graph) -> None:
    assert (shipped.shape, shipped.classes, shipped.output) == ((32, 32, 3), 10, "classes/softmax")
    scaled = shipped.scale * 255 + shipped.offset
    np.testing.assert_allclose(scaled, [2.0588, 2.1267, 2.1158], atol=1e-3)


def test_the_shipped_model_has_only_what_an_engine_computes(shipped: Graph) -> None:
    kinds = [node.op for node in shipped.nodes]
    assert {kind: kinds.count(kind) for kind in Op if kind in kinds} == {
        Op.CONV: 21,
        Op.RELU: 19,
        Op.ADD: 9,
        Op.GLOBAL_AVERAGE_POOL: 1,
        Op.DENSE: 1,
        Op.SOFTMAX: 1,
    }


def test_each_node_comes_after_what_it_takes(shipped: Graph) -> None:
    known = {PIXELS}
    for node in shipped.nodes:
        assert set(node.inputs) <= known
        known.add(node.name)


def test_an_addition_has_the_convolution_computed_last_first(shipped: Graph) -> None:
    places = {node.name: place for place, node in enumerate(shipped.nodes)}
    sums = [node for node in shipped.nodes if node.op is Op.ADD]
    assert [node.inputs[0] for node in sums] == [node.name.replace("_sum", "_b_conv") for node in sums]
    assert all(places[node.inputs[0]] == places[node.name] - 1 for node in sums)


def test_the_shipped_model_keeps_its_probabilities(shipped: Graph) -> None:
    batch = images(shipped.shape, count=40)
    model = keras.models.load_model(model_file("resnet20"), compile=False)
    np.testing.assert_allclose(by_onnx(shipped, batch), by_keras(model, batch), atol=1e-4)


# --- each kind of layer --------------------------------------------------------------------------


def residual(x: Tensor) -> Tensor:
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x)))
    y = layers.Conv2D(4, 3, 2, padding="same", activation="relu")(x)
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False)(y))
    z = layers.MaxPooling2D(2, padding="same")(x)
    return layers.Add()([layers.Conv2D(4, 1, 2)(x), z, y])


BUILDS: dict[str, Build] = {
    "conv same": layers.Conv2D(4, 3, padding="same"),
    "conv valid": layers.Conv2D(4, (3, 2)),
    "conv same by 2": layers.Conv2D(4, 3, 2, padding="same"),
    "conv same by 2, even window": layers.Conv2D(4, (4, 2), 2, padding="same"),
    "conv same by (3, 1)": layers.Conv2D(4, 5, (3, 1), padding="same"),
    "conv valid by 2": layers.Conv2D(4, 3, 2),
    "conv with relu": layers.Conv2D(4, 3, activation="relu"),
    "zeros around, conv": lambda x: layers.Conv2D(4, 3)(layers.ZeroPadding2D(1)(x)),
    "zeros around, conv by 2, norm": lambda x: layers.BatchNormalization()(
        layers.Conv2D(4, 3, 2)(layers.ZeroPadding2D(1)(layers.Conv2D(3, 1)(x)))
    ),
    "more zeros above and left": lambda x: layers.Conv2D(4, 3, 2)(layers.ZeroPadding2D(((2, 0), (3, 1)))(x)),
    "zeros around, two convs": lambda x: (
        layers.Add()([layers.Conv2D(4, 3)(x), layers.Conv2D(4, 3)(x)])
        if (x := layers.ZeroPadding2D((1, 2))(x)) is not None
        else x
    ),
    "conv, norm": lambda x: layers.BatchNormalization()(layers.Conv2D(4, 3, use_bias=False)(x)),
    "conv, noise, bare norm": lambda x: layers.BatchNormalization(center=False, scale=False, epsilon=0.1)(
        layers.GaussianNoise(0.1)(layers.Conv2D(4, 3)(x))
    ),
    "norm of the image": lambda x: layers.Conv2D(4, 3)(layers.BatchNormalization()(x)),
    "normalization": lambda x: layers.Conv2D(4, 3, padding="same")(
        layers.Normalization(mean=[0.3, 0.5], variance=[0.1, 0.2])(x)
    ),
    "one scale, an offset each": lambda x: layers.Conv2D(4, 3)(layers.Rescaling(2.0, [-1, 0.5])(x)),
    "two scalings": lambda x: layers.Conv2D(4, 3, padding="same")(layers.Rescaling([2, 3], [-1, 0.5])(x)),
    "scaling of each pixel": lambda x: layers.Conv2D(4, 3)(
        layers.Rescaling([2.0, 3.0], -np.linspace(0, 1, 176).reshape(11, 8, 2))(x)
    ),
    "normalization of each pixel": lambda x: layers.Conv2D(4, 3, padding="same")(
        layers.Normalization(axis=(1, 2, 3), mean=np.linspace(0, 1, 176).reshape(SHAPE), variance=np.full(SHAPE, 0.3))(
            x
        )
    ),
    "max pool": layers.MaxPooling2D(2),
    "max pool same": layers.MaxPooling2D(3, 2, padding="same"),
    "max pool valid by (1, 3)": layers.MaxPooling2D((2, 3), (1, 3)),
    "global average": layers.GlobalAveragePooling2D(),
    "average of all, flatten": lambda x: layers.Flatten()(layers.AveragePooling2D((11, 8))(x)),
    "average of all, dropout, flatten": lambda x: layers.Flatten()(
        layers.Dropout(0.1)(layers.AveragePooling2D((11, 8))(x))
    ),
    "flatten twice": lambda x: layers.Flatten()(layers.Flatten()(x)),
    "dense with relu": lambda x: layers.Dense(5, activation="relu")(layers.Flatten()(x)),
    "dense, norm": lambda x: layers.BatchNormalization()(layers.Dense(5)(layers.Flatten()(x))),
    "activations": lambda x: layers.Activation("relu")(layers.Activation("linear")(layers.Conv2D(4, 3)(x))),
    "dropouts": lambda x: layers.Dropout(0.5)(layers.SpatialDropout2D(0.5)(layers.Identity()(x))),
    "nothing": lambda x: x,
    "residual": residual,
}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_each_kind_of_layer_keeps_its_answers(build: Build) -> None:
    model = made(build)
    batch = images(SHAPE, count=5)
    expected = by_keras(model, batch)
    assert expected.std(axis=0).min() > 0.01
    np.testing.assert_allclose(by_onnx(walk.walked(model), batch), expected, atol=1e-5)


def cifar10_cnn() -> Model:
    """Make the network of Keras' own CIFAR-10 example, smaller."""
    return keras.Sequential(
        [
            keras.Input((16, 16, 3), dtype="uint8"),
            layers.Rescaling(1 / 255),
            *(layers.Conv2D(4, 3, padding="same"), layers.Activation("relu")),
            *(layers.Conv2D(4, 3), layers.Activation("relu")),
            *(layers.MaxPooling2D(2), layers.Dropout(0.25)),
            *(layers.Conv2D(8, 3, padding="same"), layers.Activation("relu")),
            *(layers.Conv2D(8, 3), layers.Activation("relu")),
            *(layers.MaxPooling2D(2), layers.Dropout(0.25), layers.Flatten()),
            *(layers.Dense(16), layers.Activation("relu"), layers.Dropout(0.5)),
            *(layers.Dense(10), layers.Activation("softmax")),
        ]
    )


def test_a_sequential_file_is_read_as_well(tmp_path: Path) -> None:
    model = cifar10_cnn()
    model.save(tmp_path / "cnn.keras")
    read = walk.read(tmp_path / "cnn.keras")
    assert [node.op.value for node in read.nodes] == [
        *("conv", "relu", "conv", "relu", "max_pool"),
        *("conv", "relu", "conv", "relu", "max_pool"),
        *("flatten", "dense", "relu", "dense", "softmax"),
    ]
    batch = images(read.shape, count=5)
    np.testing.assert_allclose(by_onnx(read, batch), by_keras(model, batch), atol=1e-5)


def test_every_network_can_be_exported() -> None:
    for build in NETWORKS.values():
        model = shaken(build(shape=(16, 24, 3), classes=7))
        read = walk.walked(model)
        assert (read.shape, read.classes) == ((16, 24, 3), 7)
        batch = images(read.shape, count=5)
        np.testing.assert_allclose(by_onnx(read, batch), by_keras(model, batch), atol=1e-4)


def test_a_model_without_scaling_takes_the_pixels_as_they_are() -> None:
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES, activation="softmax")])
    read = walk.walked(model)
    assert (read.scale.tolist(), read.offset.tolist()) == ([1, 1], [0, 0])
    batch = images(SHAPE, count=5)
    np.testing.assert_allclose(by_onnx(read, batch), by_keras(model, batch), atol=1e-5)


def test_the_odd_row_of_same_padding_is_below() -> None:
    conv = layers.Conv2D(4, (4, 3), 2, padding="same", name="odd")
    read = walk.walked(made(conv))
    node = read.nodes[0]
    assert (node.name, node.padding, node.kernel, node.strides) == ("odd", Padding.SAME, (4, 3), (2, 2))
    assert read.pads(node) == (1, 0, 2, 1)


def test_zeros_around_the_image_become_the_convolutions_own() -> None:
    read = walk.walked(made(lambda x: layers.Conv2D(4, 3, 2)(layers.ZeroPadding2D(((1, 2), (3, 4)))(x))))
    node = read.nodes[0]
    assert (node.op, node.inputs, node.padding, read.pads(node)) == (Op.CONV, (PIXELS,), Padding.EXPLICIT, (1, 3, 2, 4))


def test_zeros_in_a_sequential_model_are_kept() -> None:
    shape = (8, 8, 3)
    tail = [layers.GlobalAveragePooling2D(), layers.Dense(CLASSES, activation="softmax")]
    model = keras.Sequential([keras.Input(shape), layers.ZeroPadding2D(1), layers.Conv2D(4, 3, 2), *tail])
    read = walk.walked(model)
    assert read.pads(read.nodes[0]) == (1, 1, 1, 1)
    batch = images(shape, count=5)
    np.testing.assert_allclose(by_onnx(read, batch), by_keras(model, batch), atol=1e-5)


def test_a_scaling_that_all_pixels_share_is_one_of_each_channel() -> None:
    same = np.broadcast_to([0.25, 0.5], (11, 8, 2))
    read = walk.walked(made(lambda x: layers.Conv2D(2, 1)(layers.Rescaling([1.0, 2.0], same)(x))))
    assert (read.scale.shape, read.offset.tolist()) == ((2,), [0.25, 0.5])
    read = walk.walked(made(lambda x: layers.Conv2D(2, 1)(layers.Rescaling(1.0, np.arange(176).reshape(11, 8, 2))(x))))
    assert (read.scale.shape, read.offset.shape) == ((2,), (11, 8, 2))


def test_a_fused_activation_is_an_operation_of_its_own() -> None:
    read = walk.walked(made(layers.Conv2D(4, 3, activation="relu", name="c")))
    assert [(node.name, node.inputs) for node in read.nodes[:2]] == [("c", (PIXELS,)), ("c/relu", ("c",))]


# --- what is refused -----------------------------------------------------------------------------


def shared(x: Tensor) -> Tensor:
    conv = layers.Conv2D(2, 3, padding="same", name="odd")
    return conv(conv(x))


def branched(x: Tensor) -> Tensor:
    x = layers.Conv2D(4, 3)(x)
    return layers.Add()([layers.BatchNormalization(name="odd")(x), x])


def two_scales(x: Tensor) -> Tensor:
    return layers.Add()([layers.Conv2D(2, 1)(x), layers.Conv2D(2, 1)(layers.Rescaling(2.0, name="odd")(x))])


TAIL = "; it cannot be exported; --engine keras runs every model"
REFUSED: dict[str, tuple[Build, str]] = {
    "another kind": (
        layers.DepthwiseConv2D(3, name="odd"),
        "layer 'odd' (DepthwiseConv2D) is of no kind that is known: Activation, Add, AveragePooling2D, BatchNorm",
    ),
    "average of parts": (
        layers.AveragePooling2D(2, name="odd"),
        "layer 'odd' (AveragePooling2D) has pool_size (2, 2), where only (11, 8) is known",
    ),
    "conv on an average": (
        lambda x: layers.Conv2D(4, 1, name="odd")(layers.AveragePooling2D((11, 8))(x)),
        "layer 'odd' (Conv2D) takes an average pool's image of one pixel; put a Flatten between them",
    ),
    "relu on an average": (
        lambda x: layers.ReLU(name="odd")(layers.AveragePooling2D((11, 8))(x)),
        "layer 'odd' (ReLU) takes an average pool's image of one pixel; put a Flatten between them",
    ),
    "zeros around a pool": (
        lambda x: layers.MaxPooling2D(2, name="odd")(layers.ZeroPadding2D(1)(x)),
        "layer 'odd' (MaxPooling2D) takes what a ZeroPadding2D gives; only a convolution can",
    ),
    "zeros around zeros": (
        lambda x: layers.ZeroPadding2D(1, name="odd")(layers.ZeroPadding2D(1)(x)),
        "layer 'odd' (ZeroPadding2D) takes what a ZeroPadding2D gives",
    ),
    "zeros twice": (
        lambda x: layers.Conv2D(4, 3, padding="same", name="odd")(layers.ZeroPadding2D(1)(x)),
        "layer 'odd' (Conv2D) pads what a ZeroPadding2D has padded",
    ),
    "an operation": (lambda x: x * 2.0, "layer 'multiply"),
    "groups": (
        layers.Conv2D(4, 3, groups=2, name="odd"),
        f"layer 'odd' (Conv2D) has groups 2, where only 1 is known{TAIL}",
    ),
    "dilation": (
        layers.Conv2D(4, 3, dilation_rate=2, name="odd"),
        "layer 'odd' (Conv2D) has dilation_rate (2, 2), where only (1, 1) is known",
    ),
    "activation": (
        layers.Conv2D(4, 3, activation="elu", name="odd"),
        "layer 'odd' (Conv2D) has the activation elu; known are linear, relu, softmax",
    ),
    "leaky": (
        layers.ReLU(negative_slope=0.1, name="odd"),
        "layer 'odd' (ReLU) has negative_slope 0.1, where only 0 is known",
    ),
    "norm after relu": (
        lambda x: layers.BatchNormalization(name="odd")(layers.Conv2D(4, 3, activation="relu")(x)),
        "layer 'odd' (BatchNormalization) does not follow a convolution or dense layer of its own",
    ),
    "norm of one branch": (branched, "layer 'odd' (BatchNormalization) does not follow a convolution or dense"),
    "norm of another axis": (
        layers.BatchNormalization(axis=1, name="odd"),
        "layer 'odd' (BatchNormalization) has axis 1",
    ),
    "scaling inside": (
        lambda x: layers.Rescaling(2.0, name="odd")(layers.Conv2D(4, 3)(x)),
        "layer 'odd' (Rescaling) does not scale the image",
    ),
    "scaling of each image": (
        layers.Rescaling(np.ones((1, 11, 8, 2)), name="odd"),
        "layer 'odd' (Rescaling) scales by (1, 11, 8, 2) and (), which is not pixel by pixel",
    ),
    "scales": (two_scales, "the model "),
    "broadcast": (
        lambda x: layers.Add(name="odd")([x, layers.MaxPooling2D((11, 8))(x)]),
        "layer 'odd' (Add) adds different shapes",
    ),
    "dense on an image": (layers.Dense(4, name="odd"), "layer 'odd' (Dense) takes (11, 8, 2); put a Flatten before"),
    "softmax on an image": (layers.Softmax(name="odd"), "layer 'odd' (Softmax) is a softmax over (11, 8, 2)"),
    "shared": (shared, "layer 'flatten"),
}


@pytest.mark.parametrize(("build", "line"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_exported_is_named(build: Build, line: str) -> None:
    model = made(build)
    with pytest.raises(ConfigError) as refused:
        walk.walked(model)
    assert str(refused.value).startswith(line)


def test_a_model_must_end_in_probabilities() -> None:
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES)], name="bare")
    with pytest.raises(ConfigError, match="the model 'bare' must end in a softmax over its classes"):
        walk.walked(model)


def test_a_model_must_take_images_of_one_size() -> None:
    model = keras.Sequential([keras.Input((None, 8, 2)), layers.GlobalAveragePooling2D(), layers.Softmax()], name="any")
    with pytest.raises(ConfigError, match=r"the model 'any' takes \(None, 8, 2\); it must take height x width x chan"):
        walk.walked(model)


def test_a_file_that_keras_cannot_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.keras").write_bytes(b"no zip")
    with pytest.raises(ConfigError, match=r"^Keras cannot read .*odd\.keras: .*; is it a whole \.keras file\?$"):
        walk.read(tmp_path / "odd.keras")
