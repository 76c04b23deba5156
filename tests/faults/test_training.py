"""A training that was stopped goes on where it was, with everything that the next epoch depends on."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.dataset import Split
from edgewise.parts import say
from models import card
from models.engines.keras import KerasEngine
from models.train import Recipe, Training

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

RECIPE = Recipe(network="resnet20", epochs=2, batch=32, precision="float32")


@pytest.fixture(scope="module")
def few() -> Split:
    whole = dataset.load("test", say=say)
    return Split("few", np.array(whole.images[:64]), np.array(whole.labels[:64]), "none")


def test_a_stopped_training_goes_on_from_exactly_where_it_was(tmp_path: Path, few: Split) -> None:
    # Not by the weights at the end: they came out otherwise in two runs of the whole suite, why is not known.
    stopped = Training(RECIPE, tmp_path, train=few, test=few)
    stopped.epoch()
    resumed = Training(RECIPE, tmp_path, train=few, test=few)
    assert [done["epoch"] for done in resumed.epochs_done] == [1]
    for one, other in zip(everything(stopped), everything(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    # No variable says which weights decay; a resumed training once forgot that these do not.
    assert undecayed(resumed) == undecayed(stopped)
    assert {name.rsplit("/", 1)[-1] for name in undecayed(resumed)} == {"gamma", "beta", "bias"}
    resumed.epoch()
    assert [done["epoch"] for done in resumed.epochs_done] == [1, 2]


def everything(training: Training) -> list[NDArray[np.float32]]:
    """Give weights, averages, momenta and the step."""
    return [np.asarray(one) for one in [*training.model.weights, *training.model.optimizer.variables]]


def undecayed(training: Training) -> list[str]:
    """Name the weights that are excluded from weight decay."""
    optimizer = training.model.optimizer
    excluded = [one for one in training.model.trainable_variables if not optimizer._use_weight_decay(one)]  # noqa: SLF001
    return [one.path for one in excluded]


def test_another_recipe_does_not_go_on_from_the_old_state(tmp_path: Path, few: Split) -> None:
    Training(RECIPE, tmp_path, train=few, test=few).epoch()
    other = Recipe(network="resnet20", epochs=2, batch=32, precision="float32", seed=2)
    assert Training(other, tmp_path, train=few, test=few).epochs_done == []


def test_what_is_exported_is_its_card_and_classifies_uint8_images(tmp_path: Path, few: Split) -> None:
    training = Training(RECIPE, tmp_path, train=few, test=few)
    training.epoch()
    described = training.export(tmp_path / "out.keras")
    assert card.read(tmp_path / "out.keras") == described
    engine = KerasEngine(tmp_path / "out.keras", threads=0)
    labels, scores = engine.classify(few.images)
    assert int((labels == few.labels).sum()) == described.correct
    assert ((scores > 0) & (scores <= 1)).all()
