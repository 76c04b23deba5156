"""The gate before any comparison: every engine must give the answers of the model's own library."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edgewise import dataset
from edgewise.errors import ConfigError, MissingError
from edgewise.parts import say
from models import card, check, engine
from models.card import Check
from models.engine import Labels, Scores

CLUSTER: Final = "bigdl"
"""The engine that runs in the cluster only."""
ENGINES: Final[Sequence[str]] = (*engine.NAMES, CLUSTER)


@dataclass(slots=True)
class Outcome:
    """What a check of several engines came to."""

    checks: list[Check] = field(default_factory=list)
    not_checked: dict[str, str] = field(default_factory=dict)
    """Engines that cannot run this model on this machine, and why."""

    @property
    def passed(self) -> bool:
        """Say whether all that could be checked passed."""
        return all(one.passed for one in self.checks)


def check_engines(model: str, *, engines: Sequence[str] = ENGINES) -> Outcome:
    """Compare engines with the model's own library on all test images, in this process, and note it on the card.

    Raises:
        ConfigError: no such engine or model.
    """
    engine.refuse_unknown(engines, known=ENGINES)
    file = engine.model_file(model)
    card.known(file)
    split = dataset.load("test", say=say)
    images, truth = np.array(split.images), np.asarray(split.labels)
    outcome = Outcome()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("the model's own library", total=1 + len(engines))
        expected = check.reference(file, images)
        for name in engines:
            progress.update(task, advance=1, description=name)
            try:
                answers, identity = _answers(name, model, images)
            except (ConfigError, MissingError) as error:
                outcome.not_checked[name] = str(error)
                continue
            outcome.checks.append(check.compared(name, answers, expected, truth=truth, identity=identity))
        progress.update(task, advance=1)
    if not check.record(file, outcome.checks):
        say(f"{file} has no card, so nothing is recorded; make one with: edgewise models import {file}")
    return outcome


def _answers(name: str, model: str, images: NDArray[np.uint8]) -> tuple[tuple[Labels, Scores], str]:
    """Give an engine's labels and scores, and the identity of what it ran."""
    if name == CLUSTER:
        from consumers.cluster.spark.images import classified

        return classified(images, engine=name, model=model), card.known(engine.model_file(model)).identity
    loaded = engine.load(name, model=model)
    return check.answers_of(loaded, images), loaded.identity
