"""The networks: as large as they are said to be, made of what every engine can do; and how they are asked for."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from edgewise.errors import ConfigError
from models import graph, recipes, walk
from models.exports import bigdl
from models.networks import NETWORKS
from models.recipes import RECIPES

PARAMETERS = {"resnet20": 273_658, "cifar_cnn": 1_250_858, "bigdl_cnn": 552_298}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_as_large_as_its_description_says(name: str) -> None:
    assert NETWORKS[name]().count_params() == PARAMETERS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_turns_bytes_into_probabilities(name: str) -> None:
    model = NETWORKS[name]()
    assert model.input.dtype == "uint8"
    images = np.random.default_rng(1).integers(0, 256, (5, *model.input_shape[1:]), dtype=np.uint8)
    chances = np.asarray(model(images, training=False))
    assert chances.shape == (5, 10)
    assert (chances >= 0).all()
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_takes_other_images_and_classes(name: str) -> None:
    model = NETWORKS[name](shape=(48, 40, 3), classes=4)
    assert model.output_shape == (None, 4)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_can_be_written_for_every_engine(name: str) -> None:
    exported = walk.walked(NETWORKS[name]())
    assert (exported.shape, exported.classes) == ((32, 32, 3), 10)
    assert len(bigdl.encode(exported)) > 4 * sum(values.size for node in exported.nodes for values in kept(node))


def kept(node: graph.Node) -> list[graph.Weights]:
    return list(node.weights.values())


def test_layers_bear_names_of_their_own_so_that_the_identity_is_the_same_in_every_process() -> None:
    for build in NETWORKS.values():
        first, second = build(), build()
        assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
        assert isinstance(first, keras.Model)


def test_each_network_has_a_recipe_of_its_name() -> None:
    assert list(RECIPES) == list(NETWORKS)
    assert {name: recipe.network for name, recipe in RECIPES.items()} == {name: name for name in RECIPES}


def test_a_recipe_can_have_other_epochs_and_another_seed() -> None:
    known = RECIPES["cifar_cnn"]
    assert recipes.named("cifar_cnn") == known
    changed = recipes.named("cifar_cnn", epochs=3, seed=7)
    assert (changed.epochs, changed.seed, changed.peak_rate) == (3, 7, known.peak_rate)


def test_an_unknown_network_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        recipes.named("vgg")
    assert str(caught.value) == "there is no network 'vgg'; there are resnet20, cifar_cnn, bigdl_cnn"


def train(*arguments: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "edgewise", "models", "train", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert found.stdout == ""
    return found.returncode, found.stderr.splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vgg"], "there is no network 'vgg'; there are resnet20, cifar_cnn, bigdl_cnn"),
        (["cifar_cnn", "--folder", "{file}"], "{file} cannot be made: File exists; name another folder"),
        (["cifar_cnn", "--out", "{file}/deep/m.keras"], "{file}/deep cannot be made: Not a directory; name another"),
        (["cifar_cnn", "--out", "{folder}/m.h5"], "--out {folder}/m.h5: a model file's name ends in .keras"),
        (["cifar_cnn", "--epochs", "0"], "Invalid value for '--epochs': Input should be greater than or equal to 1"),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    places = {"file": file, "folder": tmp_path}
    code, lines = train(*(argument.format(**places) for argument in arguments))
    assert (code, len(lines)) == (2, 1), lines
    assert lines[0].startswith(f"edgewise: {said.format(**places)}")
