"""The true classes, by which answers are judged: of the data set that is here, or of pictures, by their plan."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.account import Plan
from edgewise.arrivals import unpacked

Labels = NDArray[np.uint8]
"""Of one split, in its stored order."""


class Truth:
    """The labels of the splits that plans name: those of ``test`` at once, others when a plan wants them."""

    def __init__(self, load: Callable[[str], Labels]) -> None:
        self._load = load
        self._labels = {"test": load("test")}
        self._carried: dict[str, Labels] = {}
        """By the text that a plan carries them in: there may be a group of pictures for each of many cameras."""

    def labels(self, plan: Plan) -> Labels | None:
        """Give the labels of a plan's images; None if it has none, and its data set is another one than ours."""
        if plan.labels:
            if plan.labels not in self._carried:
                self._carried[plan.labels] = unpacked(plan.labels).astype(np.uint8)
            return self._carried[plan.labels]
        expected = dataset.SPLITS.get(plan.split)
        if expected is None or plan.dataset != dataset.NAME:
            return None
        if (plan.dataset_sha256, plan.images) != (expected.sha256, expected.images):
            return None
        if plan.split not in self._labels:
            self._labels[plan.split] = self._load(plan.split)
        return self._labels[plan.split]
