"""One engine in a process of its own, on cores of its own: ``python -m compare.engines.timed TASK`` says what it found.

The task and the answer are JSON; the answer goes to a file, for libraries talk on stdout.
Nothing that counts cores is loaded before the process is bound to its own.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from edgewise.clock import SECOND_NS, Clock, SystemClock

WARM_CALLS: Final = 2
"""Of each batch size, before it is timed."""


class Task(BaseModel):
    """What one process is to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Literal["reference", "answers", "speeds"]
    """Labels by the model's own library, labels by the engine, or the engine's speed."""
    engine: str
    model: str
    cores: tuple[int, ...]
    """The numbers of those it is bound to; the engine gets a thread for each."""
    images: int
    """Of the test images, the first so many."""
    out: Path
    """File for the answer."""
    batches: tuple[int, ...] = ()
    each_s: float = 0.0
    """For so long each batch size is timed, at least."""


def rate_hz(classify: Callable[[Any], object], images: Any, *, batch: int, each_s: float, clock: Clock) -> float:  # noqa: ANN401 - NumPy is not loaded here yet
    """Give images a second over whole calls, one at least, for so long; each call takes the next images."""
    for _ in range(WARM_CALLS):
        classify(images[:batch])
    first = classified = 0
    began_ns = clock.ticks_ns()
    while True:
        classify(images[first : first + batch])
        classified += batch
        first = first + batch if first + 2 * batch <= len(images) else 0
        spent_ns = clock.ticks_ns() - began_ns
        if spent_ns > 0 and spent_ns >= each_s * SECOND_NS:
            return classified / spent_ns * SECOND_NS


def done(task: Task) -> dict[str, object]:
    """Do a task; give the answer."""
    import numpy as np

    from edgewise import dataset
    from edgewise.parts import say
    from models import check, engine

    images = np.array(dataset.load("test", say=say).images[: task.images])
    if task.what == "reference":
        return {"labels": check.reference(engine.model_file(task.model), images).labels.tolist()}
    loaded = engine.load(task.engine, model=task.model, threads=len(task.cores))
    if task.what == "answers":
        labels, _ = check.answers_of(loaded, images)
        return {"labels": labels.tolist(), "identity": loaded.identity}
    clock = SystemClock()
    rates = [rate_hz(loaded.classify, images, batch=batch, each_s=task.each_s, clock=clock) for batch in task.batches]
    return {"rates_hz": rates}


def main(arguments: Sequence[str]) -> None:
    """Do the task and write the answer, or why there is none."""
    from edgewise.errors import EdgewiseError

    task = Task.model_validate_json(arguments[0])
    os.sched_setaffinity(0, task.cores)
    try:
        answer = done(task)
    except EdgewiseError as error:
        answer = {"missing": str(error)}
    task.out.write_text(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
