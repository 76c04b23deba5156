"""A fleet in several processes: each drives its share of the cameras by the one plan."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from edgewise.account import Plan
from edgewise.clock import SystemClock
from edgewise.errors import EdgewiseError, InvalidRunError
from producers.camera.camera import Tally
from producers.fleet.drive import TICK_S
from producers.fleet.settings import FleetSettings
from producers.fleet.share import Share, Spent, Standing, Tell

STOP: Final = "stop"
CONNECTED: Final = "connected"


class Workers:
    """One process for each share; see ``Share``, whose methods these are."""

    def __init__(self, settings: FleetSettings) -> None:
        """Start them, and wait until all their cameras are connected.

        Raises:
            EdgewiseError: what one of them raised.
            InvalidRunError: one has died.
        """
        # Spawned, not forked: a fork would take Kafka's client along without its threads.
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        for place in range(settings.processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(settings, place, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self._spent: list[Spent] = []
        try:
            self._await_connected()
        except BaseException:
            self._end()
            raise

    def _await_connected(self) -> None:
        for place, pipe in enumerate(self._pipes):
            match _said(pipe):
                case EdgewiseError() as error:
                    raise error
                case None:
                    raise InvalidRunError(f"the fleet's process {place} died before its cameras were connected")

    def _end(self) -> None:
        """End processes that nobody needs any more."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.terminate()
            process.join()

    def drive(self, plans: Sequence[Plan], *, done: Callable[[], bool], tell: Tell) -> None:
        """Have every frame sent on schedule; ``tell`` hears how it goes with all of them."""
        standings: list[Standing] = [{} for _ in self._pipes]
        for pipe in self._pipes:
            _tell(pipe, plans)
        at_work = {pipe: place for place, pipe in enumerate(self._pipes)}
        stopping = False
        while at_work:
            if done() and not stopping:
                stopping = True
                for pipe in at_work:
                    _tell(pipe, STOP)
            for ready in wait(list(at_work), timeout=TICK_S):
                assert isinstance(ready, Connection)  # noqa: S101 - nothing else was waited for
                match _said(ready):
                    case dict() as standing:
                        standings[at_work[ready]] = standing
                    case Spent() as spent:
                        self._spent.append(spent)
                        del at_work[ready]
                    case None:
                        del at_work[ready]
            tell(
                {plan.fleet: sum((one.get(plan.fleet, Tally()) for one in standings), start=Tally()) for plan in plans}
            )

    def close(self) -> Sequence[Spent]:
        """Say what the cameras did, by process: of one that died there is nothing."""
        for process in self._processes:
            process.join()
        return self._spent


def _said(pipe: Connection) -> Any:  # noqa: ANN401 - whatever was sent
    """Give the other side's next word, or None if it has ended."""
    try:
        return pipe.recv()
    except (EOFError, OSError):  # it may have died in the middle of a word
        return None


def _tell(pipe: Connection, word: object) -> None:
    """Say something to the other side; one that has ended is found when it is heard."""
    with contextlib.suppress(OSError):
        pipe.send(word)


def _work(settings: FleetSettings, place: int, pipe: Connection) -> None:
    """Drive one share, by what comes through the pipe; without the other side there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the other side too, which then says so
    try:
        share = Share(settings, place=place, clock=SystemClock())
    except EdgewiseError as error:
        pipe.send(error)
        return
    with contextlib.suppress(BrokenPipeError):
        pipe.send(CONNECTED)
        while not pipe.poll(1.0):
            share.keep_alive()  # others may still be connecting
        if (plans := _said(pipe)) is not None:
            share.drive(plans, done=pipe.poll, tell=pipe.send)
            pipe.send(*share.close())
