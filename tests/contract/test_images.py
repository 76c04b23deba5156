"""Images from memory through the cluster's stage, in two tasks of Spark: the engine's answers, in their order."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from consumers.cluster.model import Work, loaded_stage
from consumers.cluster.spark import images as spark_images
from consumers.cluster.spark.images import Held, Job
from edgewise import dataset
from edgewise.errors import ConfigError, MissingError
from edgewise.parts import say
from models import card
from models import engine as engines

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:distutils Version classes:DeprecationWarning"),  # pyspark's
]

COUNT: Final = 101
MODEL: Final = "resnet20"


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.array(dataset.load("test", say=say).images[:COUNT])


@pytest.fixture(scope="module")
def held(images: NDArray[np.uint8]) -> Iterator[Held]:
    with spark_images.held(images, Job("onnx", MODEL, predict_max=32, master="local[2]")) as made:
        yield made


def test_the_answers_are_the_engines_in_the_images_order(held: Held, images: NDArray[np.uint8]) -> None:
    labels, scores = held.classified()
    expected, likely = engines.load("onnx", model=MODEL, threads=1).classify(images)
    assert held.tasks == 2
    assert (str(labels.dtype), str(scores.dtype)) == ("int64", "float32")
    assert labels.tolist() == expected.tolist()
    np.testing.assert_allclose(scores, likely, atol=1e-5)
    assert held.identity == card.known(engines.model_file(MODEL)).identity


def test_a_pass_whose_answers_stay_there_counts_them(held: Held) -> None:
    held.passed()
    held.passed()


def test_images_that_the_model_does_not_take_are_refused_with_the_reason(held: Held) -> None:
    from pyspark.sql import SparkSession

    assert held.tasks
    spark = SparkSession.active()
    stage = loaded_stage(spark, Work("onnx", MODEL, threads=1, tasks=2, predict_max=32))
    small = np.zeros((3, 9, 7, 3), dtype=np.uint8)
    wrong = Held(small, stage, spark=spark, job=spark_images.Job("onnx"), tasks=2)
    with pytest.raises(ConfigError, match="refused an image from memory: dimensions: 7 x 9 pixels"):
        wrong.classified()
    with pytest.raises(MissingError, match="has answered 0 of 3 images"):
        wrong.passed()


def test_an_engine_or_model_that_is_not_there_is_said_before_spark_is_started(images: NDArray[np.uint8]) -> None:
    with pytest.raises(ConfigError, match="--engine 'coral' is not known to the cluster; there is: bigdl, "):
        spark_images.classified(images, engine="coral", model=MODEL)
    with pytest.raises(ConfigError, match="no model at "):
        spark_images.classified(images, engine="onnx", model="nothing")
