"""From Kafka into the model: a thread that reads, and whoever looks meanwhile.

Nothing is committed and no group joined. A Kafka that is away is tried again; a bug ends the
watcher, so that nobody looks at figures that stand still.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event, RLock, Thread
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consumers.watch import verdict as verdicts
from consumers.watch import view
from consumers.watch.look import Look, Picture, Tile, Verdict
from consumers.watch.model import Model
from consumers.watch.pictures import Pictures
from consumers.watch.read import Opens, Reader
from consumers.watch.runs import Runs
from consumers.watch.view import Order
from edgewise import dataset, kafka, lag
from edgewise.clock import Clock
from edgewise.errors import EdgewiseError, MissingError
from edgewise.kafka import Client, Looker, Record
from edgewise.parts import say, warn

LAG_EVERY_S: Final = 2
EARLY: Final = 20
"""Pieces that are remembered for a run whose plan is still on its way ..."""
EARLY_MOST_BYTES: Final = 4_000_000
"""... and their bytes."""
AWAY_S: Final = 2.0
"""From one try to the next, while Kafka is away."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to watch, and where."""

    kafka: str
    client: Client
    run: str
    """Empty: whichever is the newest."""
    runs: Path
    report: Path | None
    split_seed: int | None = None


class Truth:
    """The true classes of the splits that results name; of no data set but the one that is here."""

    def __init__(self, load: Callable[[str], NDArray[np.uint8]]) -> None:
        self._load = load
        self._labels: dict[str, NDArray[np.uint8] | None] = {}

    def __call__(self, data: str, split: str, /) -> NDArray[np.uint8] | None:
        """See Labels."""
        if data != dataset.NAME or split not in dataset.SPLITS:
            return None
        if split not in self._labels:
            try:
                self._labels[split] = self._load(split)
            except MissingError as error:
                say(f"watch: {error}")
                self._labels[split] = None
        return self._labels[split]


class Early:
    """What was read lately, of whatever run: a run's first frames may be here before its plan."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, Sequence[Record]]] = deque()
        self.size_bytes = 0

    def add(self, records: Sequence[Record]) -> None:
        """Remember a piece; forget the oldest."""
        self._pieces.append((sum(len(record.value) for record in records), records))
        self.size_bytes += self._pieces[-1][0]
        while len(self._pieces) > EARLY or self.size_bytes > EARLY_MOST_BYTES:
            self.size_bytes -= self._pieces.popleft()[0]

    def records(self) -> list[Record]:
        """Give it all."""
        return [record for _, records in self._pieces for record in records]


class Feed:
    """Follows a run, or whichever is the newest; every method may be called from any thread."""

    def __init__(self, asked: Asked, *, clock: Clock, truth: Truth, opens: Opens | None = None) -> None:
        self._asked, self._clock, self._truth = asked, clock, truth
        self._opens = opens or self._open
        self._turn = RLock()
        self._runs = Runs(keep=asked.run)
        self._model: Model | None = None
        self._pictures = Pictures()
        self._away: dict[str, str] = {}
        """By who says so: why Kafka cannot be read."""
        self._verdict: Verdict | None = None
        self._early = Early()
        self.stopped = Event()
        self.failure: Exception | None = None
        """What ended a thread that nobody asked to stop."""
        self._threads = [Thread(target=todo, daemon=True) for todo in (self._follow, self._follow_lags)]

    def start(self) -> None:
        """Begin to read."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Read no more.

        Raises:
            Exception: what had ended a thread before.
        """
        self.stopped.set()
        for thread in self._threads:
            thread.join(timeout=AWAY_S)
        if self.failure is not None:
            raise self.failure

    # --- for who looks ---------------------------------------------------------------------------

    def look(self) -> Look:
        """Give all that there is to see, but for the pictures."""
        with self._turn:
            # One trouble is said once, by who reads if it knows; the brokers of a run often end with it.
            away = self._away.get("reader") or self._away.get("probe")
            notices = [away] if away and self._verdict is None else []
            if self._model is None:
                waited = f"run {self._asked.run}" if self._asked.run else "a run"
                return view.nothing(self._asked.run, said=f"Waiting for the plan of {waited}.", notices=notices)
            return view.look(
                self._model,
                now_ns=self._clock.ticks_ns(),
                wall_ns=self._clock.now_ns(),
                notices=notices,
                verdict=self._verdict,
            )

    def wall(self, *, order: Order, first: int, count: int) -> list[tuple[Tile, Picture | None]]:
        """Give some cameras of the wall, and their pictures, which nobody but who asked waits for."""
        with self._turn:
            if self._model is None:
                return []
            tiles = view.wall(self._model, order=order, first=first, count=count, now_ns=self._clock.ticks_ns())
            pictures = self._pictures
        return [(tile, pictures.of(tile)) for tile in tiles]

    def folder(self) -> Path | None:
        """Give the folder of the run that is shown, if it has one."""
        with self._turn:
            run = "" if self._model is None else self._model.run
        return verdicts.folder_of(run, runs=self._asked.runs, report=self._asked.report)

    def finished(self) -> bool:
        """Say whether the verdict is there, and will not change any more."""
        folder = self.folder()
        return (
            self._verdict is not None and folder is not None and verdicts.settled(folder, wall_ns=self._clock.now_ns())
        )

    # --- the threads -----------------------------------------------------------------------------

    def _follow(self) -> None:
        """Read until asked to stop."""

        def read() -> None:
            with closing(Reader(self._opens, self, clock=self._clock)) as reader:
                while not self.stopped.is_set():
                    reader.step()
                    self._say_back("reader")

        self._keep_on("reader", read)

    def _follow_lags(self) -> None:
        """Ask how far the groups are; so a Kafka that does not answer is noticed, which holds nobody up here."""
        with closing(lag.Probe(self._asked.kafka)) as probe:

            def ask() -> None:
                while not self.stopped.wait(LAG_EVERY_S):
                    found = probe.look(lag.GROUPS)
                    self._say_back("probe")
                    with self._turn:
                        if self._model is not None:
                            self._model.set_lags({group: lag.total(of) for group, of in found.items()})

            self._keep_on("probe", ask)

    def _keep_on(self, who: str, work: Callable[[], None]) -> None:
        """Do a thread's work until asked to stop."""
        while not self.stopped.is_set():
            try:
                work()
            except EdgewiseError as error:
                self._say_away(who, error)
                self.stopped.wait(AWAY_S)
            except Exception as error:  # noqa: BLE001 - the top of a thread: it is raised where the watcher ends
                self.failure = error
                self.stopped.set()

    def _say_away(self, who: str, error: EdgewiseError) -> None:
        with self._turn:
            told, self._away[who] = self._away.get(who), f"{error}."
        if told != f"{error}.":
            warn(f"watch: {error}; trying again")

    def _say_back(self, who: str) -> None:
        with self._turn:
            self._away.pop(who, None)

    def _open(self, *names: str, from_end: bool = True) -> Looker:
        asked = self._asked
        return kafka.looker(asked.kafka, topics=names, client=asked.client, from_end=from_end)

    # --- what is read ----------------------------------------------------------------------------

    @property
    def until_ns(self) -> int:
        """See Takes."""
        return self._runs.until_ns

    def add_plans(self, records: Sequence[Record]) -> None:
        """See Takes."""
        with self._turn:
            for record in records:
                self._runs.add(record)
            self._choose()

    def add(self, records: Sequence[Record]) -> None:
        """See Takes."""
        with self._turn:
            if records:
                self._early.add(records)
            if self._model is not None:
                self._model.add(records, now_ns=self._clock.ticks_ns())

    def end_second(self, *, passed: int, lasted_s: float = 1.0) -> None:
        """See Takes."""
        with self._turn:
            if self._model is not None:
                now_ns = self._clock.ticks_ns()
                self._model.add_passed(passed, now_ns=now_ns)
                self._model.close_second(now_ns=now_ns, lasted_s=lasted_s)
                if self._model.told.sent_all:
                    self._verdict = verdicts.read(self._model.run, self.folder(), since_ns=self._model.told.start_ns)

    def _choose(self) -> None:
        """Turn to the run that was asked for, or to a newer one than is shown."""
        run = self._asked.run or self._runs.newest()
        if run is None:
            return
        told = self._runs.told(run)
        if not told.plans or (self._model is not None and self._model.told is told):
            return
        now_ns = self._clock.ticks_ns()
        self._verdict, self._pictures = None, Pictures()
        self._model = Model(run, told=told, labels=self._truth, began_ns=now_ns, split_seed=self._asked.split_seed)
        self._model.add(self._early.records(), now_ns=now_ns)
