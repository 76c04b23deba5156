"""The maximum: images in memory, put through one engine again and again, with nothing around it to wait for.

On the gateway that is the engine alone, on the cluster Spark jobs one after another. No
camera, no broker, no network; and no constant is taken off the time.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Group, RenderableType

from compare.runs import machine
from compare.runs.machine import Machine
from edgewise import dataset, show
from edgewise.clock import SECOND_NS, Clock, SystemClock
from edgewise.family import Family
from edgewise.parts import say
from edgewise.show import cell, count
from models import card
from models import engine as engines
from models.engine import Labels, Scores


class Place(StrEnum):
    """Which tier's way of running an engine."""

    GATEWAY = "gateway"
    CLUSTER = "cluster"


ENGINES: Final = {Place.GATEWAY: "keras", Place.CLUSTER: "bigdl"}
"""Where none is named."""
TIMED: Final = {
    Place.GATEWAY: (
        "Inside the time: the engine's call for each batch, from pixels in memory to labels and scores. "
        "Outside: loading the model, and a call of each batch size before the clock starts."
    ),
    Place.CLUSTER: (
        "Inside the time: whole Spark jobs, planned and scheduled each, over rows in the executors' memory: "
        "every frame opened and checked, classified, its result encoded, counted and dropped. Outside: starting Spark, "
        "loading the model, filling the memory, and a first pass whose answers were collected for the accuracy."
    ),
}


class MaximumSettings(BaseModel):
    """What the maximum is asked of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "resnet20"
    """A shipped model's name, or a file."""
    on: Place = Place.GATEWAY
    engine: str = ""
    """Empty is the place's own."""
    duration_s: float = Field(default=10.0, ge=0)
    """At least one whole pass is made, however long that takes."""
    split: Literal["test", "train"] = "test"
    batch: int = Field(default=128, ge=1)
    """Images in one call of the engine, at most."""
    threads: int = Field(default=0, ge=0)
    """Of the engine, in the cluster of each task; 0 is all cores on the gateway, and one in the cluster."""
    tasks: int = Field(default=0, ge=0)
    """Of the cluster; 0 is one for each core."""
    master: str = ""
    """Spark's; empty is local with all cores."""
    memory: str = "2g"
    """Of each executor, and of the driver."""


class Maximum(BaseModel):
    """What one maximum came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: Place
    engine: str
    model: str
    """Its identity: name@12 hex digits."""
    split: str
    images: int
    """In memory."""
    classified: int
    """Within the time; each image as often as it was."""
    wall_s: float
    rate_hz: float
    cores: int
    """That the engine was given."""
    rate_hz_per_core: float
    cores_busy: float | None
    """That were really used, by all processes; None where they are not on this machine."""
    correct: int
    """Of the images, in the first pass."""
    batch: int
    machine: Machine

    @property
    def accuracy(self) -> float:
        """Share of the images in memory."""
        return self.correct / self.images

    @property
    def passes(self) -> float:
        """How often all images were classified."""
        return self.classified / self.images


@dataclass(frozen=True, slots=True)
class Looped:
    """What a loop over images came to."""

    classified: int
    wall_s: float
    cpu_s: float | None
    labels: Labels
    """Of the first pass."""
    cores: int
    identity: str
    """Of the model as the engine ran it: a quantised one has its own."""


Classify = Callable[[NDArray[np.uint8]], tuple[Labels, Scores]]


def slices(images: int, *, batch: int) -> Iterator[slice]:
    """Cut a pass into batches; the last may be smaller."""
    return (slice(first, min(first + batch, images)) for first in range(0, images, batch))


def loop(
    classify: Classify, images: NDArray[np.uint8], *, batch: int, duration_s: float, clock: Clock
) -> tuple[int, float, Labels]:
    """Classify for so long, and one whole pass at least; give how many, the seconds, and the first pass's labels."""
    labels = np.empty(len(images), dtype=np.int64)
    classified, began_ns = 0, clock.ticks_ns()
    while True:
        for place in slices(len(images), batch=batch):
            found, _ = classify(images[place])
            if classified < len(images):
                labels[place] = found
            classified += len(found)
            spent_s = (clock.ticks_ns() - began_ns) / SECOND_NS
            if classified >= len(images) and spent_s >= duration_s:
                return classified, spent_s, labels


def on_gateway(settings: MaximumSettings, images: NDArray[np.uint8], *, engine: str, clock: Clock) -> Looped:
    """Loop over the images with an engine in this process."""
    loaded = engines.load(engine, model=settings.model, threads=settings.threads)
    for size in {place.stop - place.start for place in slices(len(images), batch=settings.batch)}:
        loaded.classify(images[:size])
    say(f"{engine}: {len(images):,} images in memory, for {settings.duration_s:g} s ...")
    family = Family()
    before_s = family.spent()["cpu_s"]
    classified, wall_s, labels = loop(
        loaded.classify, images, batch=settings.batch, duration_s=settings.duration_s, clock=clock
    )
    cpu_s, cores = family.spent()["cpu_s"] - before_s, settings.threads or engines.cores()
    return Looped(classified, wall_s, cpu_s, labels, cores, loaded.identity)


def on_cluster(settings: MaximumSettings, images: NDArray[np.uint8], *, engine: str, clock: Clock) -> Looped:
    """Put all images through Spark jobs, one after another."""
    from consumers.cluster.spark.images import Job, held
    from consumers.cluster.spark.session import is_local

    job = Job(
        engine,
        settings.model,
        threads=settings.threads or 1,
        tasks=settings.tasks,
        predict_max=settings.batch,
        master=settings.master,
        memory=settings.memory,
    )
    say(f"{engine}: starting Spark, loading the model ...")
    with held(images, job) as inside:
        labels, _ = inside.classified()
        say(f"{engine}: {len(images):,} images in the executors' memory, for {settings.duration_s:g} s ...")
        family = Family()
        before_s, passes, began_ns, wall_s = family.spent()["cpu_s"], 0, clock.ticks_ns(), 0.0
        while not passes or wall_s < settings.duration_s:
            inside.passed()
            passes, wall_s = passes + 1, (clock.ticks_ns() - began_ns) / SECOND_NS
        cpu_s = family.spent()["cpu_s"] - before_s if is_local(settings.master or "local") else None
        return Looped(passes * len(images), wall_s, cpu_s, labels, inside.tasks * job.threads, inside.identity)


RUN: Final = {Place.GATEWAY: on_gateway, Place.CLUSTER: on_cluster}


def run(settings: MaximumSettings) -> Maximum:
    """Find the maximum.

    Raises:
        ConfigError: no such engine, model or master.
        MissingError, UnreachableError: what it needs is not there.
    """
    engine = settings.engine or ENGINES[settings.on]
    card.known(engines.model_file(settings.model))  # what is not there is said before anything is loaded
    split = dataset.load(settings.split, say=say)
    looped = RUN[settings.on](settings, np.array(split.images), engine=engine, clock=SystemClock())
    rate_hz = looped.classified / looped.wall_s
    return Maximum(
        on=settings.on,
        engine=engine,
        model=looped.identity,
        split=split.name,
        images=len(split.images),
        classified=looped.classified,
        wall_s=looped.wall_s,
        rate_hz=rate_hz,
        cores=looped.cores,
        rate_hz_per_core=rate_hz / looped.cores,
        cores_busy=None if looped.cpu_s is None else looped.cpu_s / looped.wall_s,
        correct=int((looped.labels == split.labels).sum()),
        batch=settings.batch,
        machine=machine.here(),
    )


def kind(split: str) -> str:
    """Name a split's images as they stand beside an accuracy."""
    return "training images" if split == "train" else f"{split} images"


def rendered(found: Maximum) -> RenderableType:
    """Lay it out for the terminal."""
    figures = ("cores", "img/s", "img/s/core", "cores busy", "passes", "seconds", "accuracy %")
    table = show.grid(numbers=figures)
    table.add_column("of")
    table.add_row(
        count(found.cores),
        cell(found.rate_hz),
        cell(found.rate_hz_per_core),
        cell(found.cores_busy, digits=2),
        cell(found.passes, digits=2),
        cell(found.wall_s),
        cell(found.accuracy * 100, digits=2),
        kind(found.split),
    )
    notes = [
        f"{found.images:,} {kind(found.split)} in memory, at most {found.batch} in a call. {TIMED[found.on]}",
        "No constant is taken off the time.",
        str(found.machine),
    ]
    if found.split == "train":
        notes.insert(0, "The network was trained on these images: their accuracy says nothing of others.")
    return Group(*show.titled(f"The maximum on the {found.on}: {found.engine} with {found.model}", table, *notes))


def print_found(found: Maximum, *, as_json: bool) -> None:
    """Print it on stdout."""
    if as_json:
        derived = {"passes": found.passes, "accuracy": found.accuracy, "accuracy_of": kind(found.split)}
        show.text(json.dumps(found.model_dump(mode="json") | derived))
    else:
        show.table(rendered(found))
