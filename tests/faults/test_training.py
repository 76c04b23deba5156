"""A training that was stopped goes on where it was, with everything that the next epoch depends on."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.dataset import Split
from edgewise.errors import ConfigError
from edgewise.parts import say
from models import card
from models.engines.keras import KerasEngine
from models.recipes import RECIPES, Recipe
from models.train import Training, alone
from tests.real import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

RECIPE = replace(RECIPES["resnet20"], epochs=2, batch=32, precision="float32")


@pytest.fixture(scope="module")
def few() -> Split:
    return some(64)


def some(images: int) -> Split:
    whole = dataset.load("test", say=say)
    return Split("few", np.array(whole.images[:images]), np.array(whole.labels[:images]), "none")


@pytest.mark.parametrize("network", RECIPES)
def test_a_stopped_training_goes_on_from_exactly_where_it_was(network: str, tmp_path: Path, few: Split) -> None:
    # Not by the weights at the end: they came out otherwise in two runs of the whole suite, why is not known.
    recipe = replace(RECIPE, network=network)
    stopped = Training(recipe, tmp_path, train=few, test=few)
    stopped.epoch()
    resumed = Training(recipe, tmp_path, train=few, test=few)
    assert [done["epoch"] for done in resumed.epochs_done] == [1]
    for one, other in zip(everything(stopped), everything(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    # No variable says which weights decay; a resumed training once forgot that these do not.
    assert undecayed(resumed) == undecayed(stopped)
    kinds = {name.rsplit("/", 1)[-1] for name in undecayed(resumed)}
    assert kinds == ({"bias"} if network == "cifar_cnn" else {"gamma", "beta", "bias"})
    resumed.epoch()
    assert [done["epoch"] for done in resumed.epochs_done] == [1, 2]


def train_and_tell(folder: Path) -> None:
    """Train two epochs of 8 steps; leave a file behind in the middle of each."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps % 8 == 4:
            (folder / f"middle-{len(training.epochs_done) + 1}").touch()

    training = Training(replace(RECIPE, network="cifar_cnn"), folder, train=some(256), test=some(640))
    while len(training.epochs_done) < 2:
        training.epoch(each_step=step)


def test_a_killed_training_ends_where_one_that_was_left_alone_does(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    killed, left_alone, again = (
        processes.Process(target=train_and_tell, args=(tmp_path / name,)) for name in ("killed", "alone", "killed")
    )
    killed.start()
    eventually((tmp_path / "killed" / "middle-2").exists, within_s=120)
    killed.kill()
    killed.join()
    assert [done["epoch"] for done in diary(tmp_path / "killed")] == [1]
    for process in (again, left_alone):
        process.start()
        process.join()
        assert process.exitcode == 0
    for one, other in zip(diary(tmp_path / "killed"), diary(tmp_path / "alone"), strict=True):
        assert abs(one["test_accuracy"] - other["test_accuracy"]) <= 0.002


def diary(folder: Path) -> list[dict[str, float]]:
    kept: list[dict[str, float]] = json.loads((folder / "diary.json").read_text())["epochs"]
    return kept


def everything(training: Training) -> list[NDArray[np.float32]]:
    """Give weights, averages, momenta, the step, and how far the dice of dropout have come."""
    metrics = {id(one) for one in training.model.metrics_variables}
    mine = [one for one in training.model.variables if id(one) not in metrics]
    return [np.asarray(one) for one in [*mine, *training.model.optimizer.variables]]


def undecayed(training: Training) -> list[str]:
    """Name the weights that are excluded from weight decay."""
    optimizer = training.model.optimizer
    excluded = [one for one in training.model.trainable_variables if not optimizer._use_weight_decay(one)]  # noqa: SLF001
    return [one.path for one in excluded]


def test_dropout_goes_on_with_the_dice_where_they_were(tmp_path: Path, few: Split) -> None:
    recipe = replace(RECIPE, network="cifar_cnn")
    fresh = Training(recipe, tmp_path, train=few, test=few)
    before = dice(fresh)
    fresh.epoch()
    assert len(before) == 3
    assert dice(fresh) != before
    assert dice(Training(recipe, tmp_path, train=few, test=few)) == dice(fresh)


def dice(training: Training) -> list[list[int]]:
    return [np.asarray(one).tolist() for one in training.model.variables if "seed" in one.path]


def test_a_folder_of_another_recipe_is_refused_and_left_as_it_is(tmp_path: Path, few: Split) -> None:
    Training(RECIPE, tmp_path, train=few, test=few).epoch()
    assert refusal(replace(RECIPE, seed=2, epochs=3), tmp_path, few) == (
        f"{tmp_path} keeps a training with epochs 2, seed 1; name another --folder, or remove it to begin anew"
    )
    assert len(Training(RECIPE, tmp_path, train=few, test=few).epochs_done) == 1


def test_a_damaged_state_is_refused(tmp_path: Path, few: Split) -> None:
    Training(RECIPE, tmp_path, train=few, test=few).epoch()
    state = tmp_path / "after-001.npz"
    whole = state.read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"no numbers"):
        state.write_bytes(content)
        assert refusal(RECIPE, tmp_path, few) == f"{state} is damaged; remove {tmp_path} to begin anew"
    state.unlink()
    assert "is damaged" in refusal(RECIPE, tmp_path, few)
    (tmp_path / "diary.json").write_text("[]")
    assert "is no training's diary" in refusal(RECIPE, tmp_path, few)


def refusal(recipe: Recipe, folder: Path, few: Split) -> str:
    with pytest.raises(ConfigError) as caught:
        Training(recipe, folder, train=few, test=few)
    return str(caught.value)


def test_one_folder_holds_one_training_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(ConfigError, match="another training is at work"), alone(tmp_path):
        pytest.fail("both were let in")
    with alone(tmp_path):
        pass


def test_what_is_exported_is_its_card_and_classifies_uint8_images(tmp_path: Path, few: Split) -> None:
    training = Training(RECIPE, tmp_path, train=few, test=few)
    training.epoch()
    described = training.export(tmp_path / "out.keras")
    assert card.read(tmp_path / "out.keras") == described
    engine = KerasEngine(tmp_path / "out.keras", threads=0)
    assert "after 1 of 2 epochs" in (tmp_path / "out.svg").read_text()
    assert described.trained_with["command"] == "edgewise models train resnet20 --epochs 2 --seed 1"
    labels, scores = engine.classify(few.images)
    assert int((labels == few.labels).sum()) == described.correct
    assert ((scores > 0) & (scores <= 1)).all()
