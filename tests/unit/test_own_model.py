"""A model of the user's own: any classifier of the data set's images, with no card; others are refused with reasons."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgewise.errors import ConfigError
from models import card, engine

CACHE = "EDGEWISE_CACHE"
Build = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def keras_file(place: Path, *, shape: tuple[int, ...] = (32, 32, 3), classes: int = 10, end: str = "softmax") -> Path:
    import keras

    keras.utils.set_random_seed(4)
    pixels = keras.Input(shape, dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(pixels, keras.layers.Dense(classes, activation=end)(x)).save(place)
    return place


def onnx_file(
    place: Path,
    *,
    sizes: Sequence[int | str] = ("N", 3, 32, 32),
    kind: int = TensorProto.UINT8,
    channels: int = 3,
    classes: int = 10,
    end: str = "Softmax",
) -> Path:
    """Write a classifier that looks at the mean of each channel, as other tools write one: channels first."""
    axes = [2, 3] if sizes[1] == 3 else [1, 2]
    weights = np.random.default_rng(6).normal(size=(channels, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["data"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node(end, ["logits"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mine",
        [helper.make_tensor_value_info("data", kind, sizes)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", classes])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    opsets = [helper.make_opsetid("", 17)]
    place.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return place


@pytest.mark.parametrize("name", ["keras", "onnx"])
def test_a_keras_file_without_a_card_runs_and_is_called_by_its_bytes(
    name: str, tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    model = keras_file(tmp_path / "mine.keras")
    loaded = engine.load(name, model=str(model))
    assert loaded.identity == card.known(model).identity
    assert loaded.identity.startswith("mine@")
    assert loaded.classify(images)[0].tolist() == engine.load("keras", model=str(model)).classify(images)[0].tolist()


@pytest.mark.parametrize("sizes", [("N", 3, 32, 32), ("N", 32, 32, 3)])
def test_an_onnx_file_runs_whichever_way_it_takes_images(
    sizes: Sequence[Any], tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    model = str(onnx_file(tmp_path / "mine.onnx", sizes=sizes))
    weights = np.random.default_rng(6).normal(size=(3, 10)).astype(np.float32)
    expected = (images.mean(axis=(1, 2)) @ weights).argmax(axis=1).tolist()
    for name in ("onnx", "openvino"):
        loaded = engine.load(name, model=model)
        assert loaded.shape == (32, 32, 3)
        assert loaded.classify(images)[0].tolist() == expected


def test_a_model_for_other_images_or_classes_is_refused(tmp_path: Path) -> None:
    big = keras_file(tmp_path / "big.keras", shape=(48, 64, 3))
    with pytest.raises(ConfigError, match=r"expected .* 32 x 32 x 3 images and 10 classes, found one for 48 x 64 x 3 "):
        engine.load("keras", model=str(big))
    few = keras_file(tmp_path / "few.keras", classes=7)
    with pytest.raises(ConfigError, match="and 10 classes, found one for 32 x 32 x 3 images and 7 classes"):
        engine.load("keras", model=str(few))


def test_a_model_that_gives_no_probabilities_is_refused(tmp_path: Path) -> None:
    logits = onnx_file(tmp_path / "logits.onnx", end="Identity")
    with pytest.raises(ConfigError, match=r"its outputs are no probabilities \(sum .*\); end it in softmax"):
        engine.load("onnx", model=str(logits))
    sigmoids = keras_file(tmp_path / "sigmoids.keras", end="sigmoid")
    with pytest.raises(ConfigError, match="its outputs are no probabilities"):
        engine.load("keras", model=str(sigmoids))


@pytest.mark.parametrize(
    "odd",
    [
        {"kind": TensorProto.FLOAT},
        {"sizes": ("N", 1, 32, 32), "channels": 32},
        {"sizes": ("N", 3, "height", "width")},
    ],
)
def test_an_onnx_file_that_takes_something_else_is_refused_with_what_it_takes(odd: Any, tmp_path: Path) -> None:  # noqa: ANN401
    model = onnx_file(tmp_path / "odd.onnx", **odd)
    for name in ("onnx", "openvino"):
        with pytest.raises(ConfigError, match=r"expected one input of uint8 RGB images, .*; found "):
            engine.load(name, model=str(model))


def test_an_engine_that_cannot_run_a_format_names_one_that_can(tmp_path: Path) -> None:
    model = onnx_file(tmp_path / "mine.onnx")
    with pytest.raises(ConfigError, match=r"--engine keras cannot run .*; take onnx or openvino"):
        engine.load("keras", model=str(model))


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_damaged_onnx_file_is_named(name: str, tmp_path: Path) -> None:
    whole = onnx_file(tmp_path / "whole.onnx").read_bytes()
    for content in (b"", b"no model at all", whole[: len(whole) // 2]):
        (tmp_path / "cut.onnx").write_bytes(content)
        with pytest.raises(ConfigError, match=r"cannot read .*cut\.onnx"):
            engine.load(name, model=str(tmp_path / "cut.onnx"))


def test_other_formats_are_imported_first(tmp_path: Path) -> None:
    (tmp_path / "old.h5").write_bytes(b"weights")
    with pytest.raises(ConfigError, match=r"import it first: edgewise models import .*old\.h5"):
        engine.load("keras", model=str(tmp_path / "old.h5"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for suffix in ("keras", "onnx"):
        with pytest.raises(ConfigError, match=rf"no model at .*gone\.{suffix}"):
            engine.load("onnx", model=str(tmp_path / f"gone.{suffix}"))
