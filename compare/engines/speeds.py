"""How fast every engine is on this machine, by batch size and cores, with what its answers are worth beside it.

Each engine runs in processes of its own, bound to as many cores as it is given. Rounds go
through all of them and back, so that a machine that grows slower is unkind to all alike;
what counts is the median.
"""

import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from compare.engines.timed import Task
from compare.runs import machine
from compare.runs.machine import Machine
from edgewise import dataset, processes
from edgewise.clock import Clock, SystemClock, utc_name
from edgewise.errors import ConfigError
from edgewise.parts import say
from edgewise.places import CHECKOUT
from models import card
from models.engine import NAMES, model_file, refuse_unknown
from models.engine import cores as available

CORES: Final = (1, 2)
"""As far as there are."""
TEST_IMAGES: Final = dataset.SPLITS["test"].images
STEP_S: Final = 900.0
"""How long one process may take."""
Rates = dict[tuple[str, int, int], list[float]]
"""By engine, cores and batch: of each round."""


class SpeedSettings(BaseModel):
    """What is compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """A shipped model's name, or a file."""
    engines: tuple[str, ...]
    batches: tuple[int, ...]
    cores: tuple[int, ...]
    """How many."""
    rounds: int = Field(default=3, ge=1)
    each_s: float = Field(default=1.0, gt=0)
    """For so long each figure is timed in each round."""
    images: int = Field(default=TEST_IMAGES, ge=1, le=TEST_IMAGES)
    """Test images that accuracy and agreement are of."""


class Speed(BaseModel):
    """Images a second, of one engine with one batch size on some cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cores: int
    batch: int
    rate_hz: float
    """Median of the rounds."""
    lowest_hz: float
    highest_hz: float


class Measured(BaseModel):
    """One engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    identity: str | None = None
    """Of the model as it ran it: a quantised one has its own."""
    missing: str | None = None
    """Why there are no figures."""
    accuracy: float | None = None
    agreement: float | None = None
    """Share of the labels that are the reference's."""
    speeds: tuple[Speed, ...] = ()

    def speed(self, *, cores: int, batch: int) -> Speed | None:
        """Look one up."""
        return next((one for one in self.speeds if (one.cores, one.batch) == (cores, batch)), None)


class Speeds(BaseModel):
    """All of them, side by side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """Its identity: name@12 hex digits."""
    at: str
    """UTC."""
    machine: Machine
    settings: SpeedSettings
    reference: str
    """Whose labels the others are compared with."""
    reference_missing: str | None = None
    engines: tuple[Measured, ...]

    @property
    def name(self) -> str:
        """Of the model, without its hash."""
        return self.model.partition("@")[0]


def numbers(option: str, text: str) -> tuple[int, ...]:
    """Read numbers with commas between them, each once.

    Raises:
        ConfigError: it is something else, or a number is less than 1.
    """
    try:
        found = tuple(dict.fromkeys(int(word) for word in text.split(",") if word))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise ConfigError(f"{option} {text!r} is not whole numbers from 1 up, with commas between them")
    return found


def asked(*, model: str, engines: str, batches: str, cores: str, **others: Any) -> SpeedSettings:  # noqa: ANN401 - pydantic checks them
    """Read what the command line says; empty is the usual.

    Raises:
        ConfigError: no such engine or model, more cores or images in a batch than there are, or no numbers.
    """
    allowed = available()
    found = SpeedSettings(
        model=model,
        engines=tuple(dict.fromkeys(engines.split(","))) if engines else tuple(NAMES),
        batches=numbers("--batches", batches),
        cores=numbers("--cores", cores) if cores else tuple(number for number in CORES if number <= allowed),
        **others,
    )
    refuse_unknown(found.engines, known=NAMES)
    if too_large := [batch for batch in found.batches if batch > found.images]:
        raise ConfigError(f"--batches {too_large[0]} is more than the {found.images:,} images there are")
    if too_many := [number for number in found.cores if number > allowed]:
        raise ConfigError(f"--cores {too_many[0]} is more than the {allowed} that this process may use")
    card.known(model_file(found.model))
    return found


def order(names: Sequence[str], cores: Sequence[int], *, round_number: int) -> list[tuple[str, int]]:
    """Give engine and number of cores of each process of a round: forth, and in the next one back."""
    forth = [(name, number) for number in cores for name in names]
    return forth if round_number % 2 == 0 else forth[::-1]


class Bench:
    """Runs the processes of one comparison; each answers with JSON."""

    def __init__(self, settings: SpeedSettings, *, folder: Path, progress: Progress) -> None:
        self._settings, self._folder, self._progress = settings, folder, progress
        self._cores = sorted(os.sched_getaffinity(0))
        self._step = progress.add_task("", total=self.steps(len(settings.engines)))
        self.missing: dict[str, str] = {}
        """By engine: why there are no figures of it."""

    def steps(self, working: int) -> int:
        """Count the processes, if so many engines can run."""
        settings = self._settings
        return 1 + len(settings.engines) + settings.rounds * len(settings.cores) * working

    def answered(self, what: str, engine: str, *, cores: int) -> dict[str, Any] | None:
        """Run one process to its end; give its answer, None where there is none: ``missing`` then says why."""
        self._progress.update(self._step, description=f"{engine}, {what}, {cores} core{'s' * (cores > 1)}")
        settings, out = self._settings, self._folder / "answer.json"
        out.unlink(missing_ok=True)
        task = Task(
            what=what,  # type: ignore[arg-type]  # pydantic checks it
            engine=engine,
            model=settings.model,
            cores=tuple(self._cores[:cores]),
            images=settings.images,
            out=out,
            batches=settings.batches,
            each_s=settings.each_s,
        )
        child = processes.start(
            [sys.executable, "-m", "compare.engines.timed", task.model_dump_json()],
            name=f"{what} {engine}",
            log=self._folder / "timed.log",
            cwd=CHECKOUT,
        )
        try:
            code = child.wait(within_s=STEP_S)
        finally:
            if child.running():
                child.kill()
        self._progress.advance(self._step)
        told: dict[str, Any] = (
            json.loads(out.read_text()) if code == 0 else {"missing": _ended(code, child.tail(lines=1))}
        )
        if "missing" in told:
            self.missing[engine] = told["missing"]
            return None
        return told

    def rates(self, names: Sequence[str]) -> Rates:
        """Time the engines, round by round; one that fails on the way is timed no more."""
        settings, found = self._settings, defaultdict[tuple[str, int, int], list[float]](list)
        self._progress.update(self._step, total=self.steps(len(names)))
        for number in range(settings.rounds):
            for engine, cores in order(names, settings.cores, round_number=number):
                if engine in self.missing or (told := self.answered("speeds", engine, cores=cores)) is None:
                    continue
                for batch, rate in zip(settings.batches, told["rates_hz"], strict=True):
                    found[engine, cores, batch].append(rate)
        return found


def _ended(code: int | None, words: str) -> str:
    how = f"did not end in {STEP_S:.0f} s" if code is None else f"ended with {code}"
    return f"its process {how}: {words.strip().removeprefix('|').strip()}"


def run(settings: SpeedSettings, *, clock: Clock | None = None) -> Speeds:
    """Compare the engines, with progress on stderr."""
    model = model_file(settings.model)
    split = dataset.load("test", say=say)
    reference = "Keras" if model.suffix == ".keras" else "ONNX Runtime"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="edgewise-bench-") as folder,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        bench = Bench(settings, folder=Path(folder), progress=progress)
        most = max(settings.cores)
        expected = bench.answered("reference", reference, cores=most)
        answers = {name: told for name in settings.engines if (told := bench.answered("answers", name, cores=most))}
        rates = bench.rates(list(answers))
    truth = split.labels[: settings.images]
    return Speeds(
        model=card.known(model).identity,
        at=utc_name((clock or SystemClock()).now_ns()),
        machine=machine.here(),
        settings=settings,
        reference=reference,
        reference_missing=bench.missing.get(reference),
        engines=tuple(
            _measured(name, answers.get(name), expected, truth=truth, rates=rates, missing=bench.missing.get(name))
            for name in settings.engines
        ),
    )


def _measured(
    name: str,
    told: Mapping[str, Any] | None,
    expected: Mapping[str, Any] | None,
    *,
    truth: Any,  # noqa: ANN401 - a memory map
    rates: Rates,
    missing: str | None,
) -> Measured:
    if told is None:
        return Measured(engine=name, missing=missing)
    labels = np.array(told["labels"])
    return Measured(
        engine=name,
        identity=told["identity"],
        missing=missing,
        accuracy=float((labels == truth).mean()),
        agreement=None if expected is None else float((labels == np.array(expected["labels"])).mean()),
        speeds=tuple(_speeds(name, rates)),
    )


def _speeds(name: str, rates: Rates) -> Iterator[Speed]:
    for (engine, cores, batch), found in sorted(rates.items()):
        if engine == name:
            median = statistics.median(found)
            yield Speed(cores=cores, batch=batch, rate_hz=median, lowest_hz=min(found), highest_hz=max(found))
