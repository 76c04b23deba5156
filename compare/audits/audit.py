"""A finished run, doubted: its files, its truth, its counts, its labels, its engines' speed, its accuracy.

What a machine cannot check is said to be not checked, and fails no audit. Sampling and
shuffling are seeded. The checks themselves stand in ``audit_checks``.
"""

import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from compare.audits import audit_checks, audit_images
from compare.audits.audit_checks import Answered, Finding, Whole
from compare.engines import timed
from compare.engines.equivalence import CLUSTER
from compare.reports import report
from compare.runs import runfolder
from consumers.ledger.table import FILE, Fate
from edgewise import codecs, dataset
from edgewise.clock import SECOND_NS, Clock, SystemClock
from edgewise.errors import ConfigError
from edgewise.family import Family
from edgewise.messages import Codec, Frame
from edgewise.parts import say
from edgewise.summary import Summary
from models import card, check, engine
from models.engine import Loaded

COLUMNS: Final = (
    *("tier", "fate", "camera", "number", "image", "truth", "label"),
    *("right_image", "engine", "model"),
)
"""All that is read of the table."""
ROUNDS: Final = 11
"""Of varied images and one image, in turn."""
CLUSTER_ROUNDS: Final = 5
"""The same of the cluster's engine: a pass through Spark takes longer."""
EACH_S: Final = 0.25
"""For so long each is timed in each round."""
BATCH: Final = 32
TIMED_IMAGES: Final = 1024


class Audit(BaseModel):
    """What all checks of a run came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    seed: int
    verdict: Literal["PASSED", "FAILED"]
    """FAILED if one check did."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """How an audit is made."""

    frames: int = 1000
    """Of each tier and engine, classified again at most."""
    model: str = ""
    """The run's model file; empty is the one that its tiers were given."""
    codec: Codec | None = None
    """Of the run's payloads; None is the one in the manifest, and raw where there is none."""
    images: tuple[Path, ...] = ()
    """Folders of the pictures that were sent; none is the one in the manifest."""
    seed: int = 1
    """Of the sample, and of the shuffled truth."""


class CpuClock(SystemClock):
    """Ticks while this process works: what others do on the same cores is in no tick."""

    def ticks_ns(self) -> int:
        """See Clock."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return round((usage.ru_utime + usage.ru_stime) * SECOND_NS)


@dataclass(frozen=True, eq=False)
class Ran:
    """An engine with a model, as a tier had it."""

    engine: str
    model: str
    """A name or a file."""

    @cached_property
    def loaded(self) -> Loaded:
        """Load it into this process, once.

        Raises:
            ConfigError, MissingError: as models.engine.load.
        """
        return engine.load(self.engine, model=self.model)

    @property
    def identity(self) -> str:
        """Of the model as the engine runs it."""
        return card.known(engine.model_file(self.model)).identity if self.engine == CLUSTER else self.loaded.identity

    def labels(self, images: NDArray[np.uint8]) -> Whole:
        """Classify images as the tier did: BigDL in a Spark of its own."""
        if self.engine == CLUSTER:
            from consumers.cluster.spark.images import classified

            return classified(images, engine=self.engine, model=self.model)[0]
        return check.answers_of(self.loaded, images)[0]

    def undecided(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Say where the model's own library cannot decide: only there may another call decide otherwise."""
        return check.reference(engine.model_file(self.model), images).undecided


def run(folder: Path, asked: Asked, *, clock: Clock | None = None) -> Audit:
    """Doubt a run folder.

    Raises:
        ConfigError: no run folder, or its model is not the one that is here, or its data set.
        MissingError: an engine of the run cannot run here.
    """
    summary, manifest = _summary(folder), runfolder.manifest(folder)
    findings = [audit_checks.files(folder, manifest)]
    if findings[0].state != "failed":  # all others would judge what was changed
        findings += _of_content(folder, summary, manifest, asked, clock=clock or CpuClock())
    failed = any(one.state == "failed" for one in findings)
    return Audit(run=summary.run, seed=asked.seed, verdict="FAILED" if failed else "PASSED", findings=tuple(findings))


def _summary(folder: Path) -> Summary:
    """Read a run's summary; of a comparison say which runs it has."""
    if (folder / "comparison.json").exists() and (inside := sorted(folder.glob("*/summary.json"))):
        raise ConfigError(f"{folder} holds {len(inside)} runs; audit one of them, for example {inside[0].parent}")
    return report.read(folder)


def _of_content(
    folder: Path, summary: Summary, manifest: Mapping[str, Any], asked: Asked, *, clock: Clock
) -> Iterator[Finding]:
    table = read(folder / FILE)
    yield from (audit_checks.counts(tier, summary, table) for tier in summary.tiers)
    fleet = manifest.get("scenario", {}).get("fleet", {})
    images = asked.images or tuple(Path(one) for one in (fleet.get("images"),) if one)
    codec = asked.codec or Codec(fleet.get("codec", Codec.RAW))
    timed_already: dict[tuple[str, str], Ran] = {}
    for fleets, frames, split in audit_images.parted(table, summary, images):
        for found in _of_images(frames, split, manifest, asked, codec=codec, timed_already=timed_already, clock=clock):
            yield found.model_copy(update={"check": f"{found.check}, {fleets}"}) if fleets else found


def _of_images(
    table: pa.Table,
    split: dataset.Split,
    manifest: Mapping[str, Any],
    asked: Asked,
    *,
    codec: Codec,
    timed_already: dict[tuple[str, str], Ran],
    clock: Clock,
) -> Iterator[Finding]:
    """Check the frames that are of one split."""
    yield (true := audit_checks.truth(table, split))
    if true.state == "failed":  # its images may be none
        return
    groups = list(answered(table))
    if not groups:
        raise ConfigError("the run has no answered frame that could be classified again; see: edgewise report")
    for group in groups:
        ran = timed_already.get((group.engine, group.model)) or _ran(group, manifest, asked.model)
        say(f"classifying frames of the {group.tier} again, with {group.engine} ...")
        yield same_labels(group, ran, split.images, codec=codec, asked=asked)
        if (group.engine, group.model) not in timed_already:
            timed_already[group.engine, group.model] = ran
            yield _speed(ran, split.images, clock=clock)
        yield audit_checks.shuffled_truth(group, seed=asked.seed)


def read(path: Path) -> pa.Table:
    """Read a run's per-frame table.

    Raises:
        ConfigError: there is none, or it is none.
    """
    try:
        return pq.read_table(path, columns=list(COLUMNS))
    except (OSError, pa.ArrowException) as error:
        said = str(error).splitlines()[0]
        raise ConfigError(f"{path} cannot be read as a run's frames: {said}; was the run cut off?") from error


def answered(table: pa.Table) -> Iterator[Answered]:
    """Give the table's answers by tier, engine and model, those that can be judged."""
    good = pc.and_(pc.equal(table["fate"], Fate.ANSWERED.value), table["right_image"].fill_null(False))  # noqa: FBT003 - Arrow's
    rows = table.filter(pc.and_(good, pc.is_valid(table["truth"])))
    names = [[column.as_py() for column in rows[name]] for name in ("tier", "engine", "model")]
    which = list(zip(*names, strict=True))
    for tier, name, model in dict.fromkeys(which):
        mine = rows.filter(pa.array([one == (tier, name, model) for one in which]))
        columns = {one: np.asarray(mine[one], dtype=np.int64) for one in ("number", "image", "truth", "label")}
        yield Answered(tier, name, model, camera=mine["camera"].to_pylist(), **columns)


def _ran(group: Answered, manifest: Mapping[str, Any], asked: str) -> Ran:
    """Find what a tier ran; refuse a model that is another one by now."""
    command = manifest.get("parts", {}).get(group.tier, {}).get("command", [])
    given = command[command.index("--model") + 1] if "--model" in command[:-1] else ""
    ran = Ran(group.engine, asked or given or group.model.partition("@")[0].removesuffix("-int8"))
    if ran.identity != group.model:
        raise ConfigError(
            f"the {group.tier} ran {group.model}, and {ran.model} is {ran.identity} now; "
            "give the model file of the run: --model FILE"
        )
    return ran


def pixels(images: NDArray[np.uint8], *, codec: Codec) -> NDArray[np.uint8]:
    """Give images as a tier sees them after their way as payloads: those of JPEG are not the camera's."""
    return np.stack([_opened(image, codec=codec) for image in images])


def _opened(image: NDArray[np.uint8], *, codec: Codec) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    frame = Frame(
        run="",
        camera="audit",
        number=0,
        dataset="",
        split="",
        image=0,
        width=width,
        height=height,
        codec=codec,
        due_ns=0,
        sent_ns=0,
        payload=codecs.encode(image, codec=codec),
    )
    return codecs.decode(frame)


def same_labels(group: Answered, ran: Ran, images: NDArray[np.uint8], *, codec: Codec, asked: Asked) -> Finding:
    """Classify a sample of the run's frames again, as an accuracy run does: the labels must be the run's."""
    rng, frames = np.random.default_rng(asked.seed), len(group.label)
    places = np.sort(rng.choice(frames, size=min(asked.frames, frames), replace=False))
    wanted, back = np.unique(group.image[places], return_inverse=True)
    seen = pixels(images[wanted], codec=codec)
    again = ran.labels(seen)[back]
    differ, ties = np.flatnonzero(again != group.label[places]), 0
    if len(differ):
        undecided = ran.undecided(seen[back[differ]])
        differ, ties = differ[~undecided], int(undecided.sum())
    return audit_checks.labels(group, places[differ], again[differ], sampled=len(places), ties=ties, codec=codec)


def _speed(ran: Ran, images: NDArray[np.uint8], *, clock: Clock) -> Finding:
    say(f"timing {ran.engine} on many images, and on one again and again ...")
    varied = np.array(images[:TIMED_IMAGES])
    if ran.engine == CLUSTER:
        return audit_checks.one_image(ran.engine, *cluster_rates(ran, varied))
    return audit_checks.one_image(ran.engine, *rates(ran.loaded.classify, varied, clock=clock))


def rates(
    classify: Callable[[Any], object], varied: NDArray[np.uint8], *, clock: Clock, each_s: float = EACH_S
) -> tuple[list[float], list[float]]:
    """Time an engine on many images and on the first of them repeated, in turn; give each round's images a second."""
    both = (varied, _repeated(varied))
    return _in_turn(
        lambda which: timed.rate_hz(classify, both[which], batch=BATCH, each_s=each_s, clock=clock), rounds=ROUNDS
    )


def cluster_rates(
    ran: Ran, varied: NDArray[np.uint8], *, rounds: int = CLUSTER_ROUNDS
) -> tuple[list[float], list[float]]:
    """Time the cluster's stage likewise, in a Spark of its own with one task: by the CPU time of all its processes."""
    from consumers.cluster.spark.images import Job, held

    with held(varied, Job(ran.engine, ran.model, tasks=1, master="local[1]")) as many:
        both, family = (many, many.beside(_repeated(varied))), Family()

        def rate_hz(which: int) -> float:
            before_s = family.spent()["cpu_s"]
            both[which].passed()
            return len(varied) / (family.spent()["cpu_s"] - before_s)

        for which in (0, 1):
            rate_hz(which)  # Java compiles what it runs most while it runs
        return _in_turn(rate_hz, rounds=rounds)


def _repeated(varied: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(varied[:1], len(varied), axis=0)


def _in_turn(rate_hz: Callable[[int], float], *, rounds: int) -> tuple[list[float], list[float]]:
    """Time both, now one first and now the other."""
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            found[which].append(rate_hz(which))
    return found
