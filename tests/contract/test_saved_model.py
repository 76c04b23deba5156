"""TensorFlow's SavedModel folders by tf2onnx, for real: a process of its own, so not among the unit tests."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from edgewise.errors import ConfigError
from models.imports import formats, onnx, saved_model
from models.imports.formats import Format

SHAPE = (16, 12, 3)


def test_a_saved_model_becomes_onnx_with_the_same_answers(tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    tail = [layers.BatchNormalization(), layers.ReLU(), layers.Flatten(), layers.Dense(4, activation="softmax")]
    model = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(5, 3, 2, padding="same"), *tail])
    folder, place = tmp_path / "saved", tmp_path / "made.onnx"
    model.export(folder, verbose=False)
    assert formats.of(folder) is Format.SAVED_MODEL
    saved_model.convert(folder, place)
    found = onnx.read(place)
    assert (found.shape, found.classes, found.takes_pixels) == (SHAPE, 4, False)
    images = np.random.default_rng(4).normal(size=(6, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(onnx.outputs(place, found)(images), np.asarray(model(images)), atol=1e-5)


def test_a_folder_that_tensorflow_cannot_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(ConfigError) as refused:
        saved_model.convert(tmp_path, tmp_path / "made.onnx")
    line = str(refused.value)
    assert line.startswith(
        f"{tmp_path} cannot be imported: expected a TensorFlow SavedModel, found one that tf2onnx ref"
    )
    assert "\n" not in line
