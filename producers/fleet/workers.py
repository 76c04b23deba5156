"""A fleet in several processes: each drives its share of the cameras by the one plan."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from edgewise import log, security
from edgewise.clock import Deadline, SystemClock
from edgewise.errors import EdgewiseError, InvalidRunError
from edgewise.log import LOGGER
from edgewise.security import Profile
from producers.camera.tally import Tally
from producers.fleet.drive import TICK_S
from producers.fleet.settings import FleetSettings
from producers.fleet.share import Share, Spent, Standing, Tell

STOP: Final = "stop"
CONNECTED: Final = "connected"
WORD_S: Final = 2.0
"""For the other side's next word, once somebody asked this one to stop."""


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
        self._processes: dict[Connection, BaseProcess] = {}
        for place in range(settings.processes):
            ours, theirs = context.Pipe()
            around = security.in_force(), log.form()
            process = context.Process(target=_work, args=(settings, place, theirs, *around), daemon=True)
            process.start()
            theirs.close()
            self._processes[ours] = process
        self._at_work = list(self._processes)
        self._standings: dict[Connection, Standing] = {}
        self._spent: list[Spent] = []
        try:
            self._await_connected()
        except BaseException:
            self._end()
            raise

    def _await_connected(self) -> None:
        for place, pipe in enumerate(self._processes):
            match _said(pipe):
                case EdgewiseError() as error:
                    raise error
                case None:
                    raise InvalidRunError(f"the fleet's process {place} died before its cameras were connected")

    def _end(self) -> None:
        """End processes that nobody needs any more."""
        for pipe, process in self._processes.items():
            pipe.close()
            process.kill()  # they hold nothing
            process.join()

    def drive(self, *, start_ns: int, done: Callable[[], bool], tell: Tell) -> None:
        """Have every frame sent on schedule; ``tell`` hears how it goes with all of them."""
        for pipe in self._at_work:
            _tell(pipe, start_ns)
        stopping = False
        while self._at_work:
            if done() and not stopping:
                stopping = True
                self._stop()
            self._hear()
            tell(self._standing())

    def _stop(self) -> None:
        for pipe in self._at_work:
            _tell(pipe, STOP)

    def _hear(self) -> None:
        """Take what the processes say; wait a little for it."""
        for ready in wait(self._at_work, timeout=TICK_S):
            assert isinstance(ready, Connection)  # noqa: S101 - nothing else was waited for
            match _said(ready):
                case dict() as standing:
                    self._standings[ready] = standing
                case Spent() as spent:
                    self._spent.append(spent)
                    self._at_work.remove(ready)
                case None:
                    self._at_work.remove(ready)

    def _standing(self) -> Mapping[str, Tally]:
        """Give how far all of them are together."""
        together: dict[str, Tally] = {}
        for standing in self._standings.values():
            for group, tally in standing.items():
                together[group] = together.get(group, Tally()) + tally
        return together

    def close(self) -> Sequence[Spent]:
        """Say what the cameras did, by process: of one that died there is nothing."""
        self._stop()  # whoever is at work still was left by an error
        while self._at_work:
            self._hear()
        for process in self._processes.values():
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


class _Asked:
    """Whether SIGTERM came, as it does to a group of processes: the other side has it too, and will say so."""

    def __init__(self) -> None:
        self.yet = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, *_: object) -> None:
        self.yet = True


def _work(settings: FleetSettings, place: int, pipe: Connection, profile: Profile, form: log.Form) -> None:
    """Drive one share, by what comes through the pipe; without the other side there is nothing to do."""
    security.put_in_force(profile)
    log.speak(form, part="fleet", run=settings.run)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the other side too, which then says so
    try:
        share = Share(settings, place=place, clock=SystemClock())
    except EdgewiseError as error:
        pipe.send(error)
        return
    asked = _Asked()
    with contextlib.suppress(BrokenPipeError):
        pipe.send(CONNECTED)
        if (start_ns := _start_ns(pipe, share, asked)) is not None:
            ended = _driven(share, start_ns, done=lambda: asked.yet or pipe.poll(), tell=pipe.send, place=place)
            (spent,) = share.close()
            pipe.send(replace(spent, error=ended))


def _start_ns(pipe: Connection, share: Share, asked: _Asked) -> int | None:
    """Wait for the start, while others may still be connecting; None if there will be none."""
    until: Deadline | None = None
    while not pipe.poll(1.0):
        share.keep_alive()
        if asked.yet:
            until = until or Deadline(SystemClock(), within_s=WORD_S)
            if until.passed():
                return None
    word = _said(pipe)
    return word if isinstance(word, int) else None


def _driven(share: Share, start_ns: int, *, done: Callable[[], bool], tell: Tell, place: int) -> EdgewiseError | None:
    """Drive a share to its end; give what ended it before its time, if something did: its account stays one."""
    try:
        share.drive(start_ns=start_ns, done=done, tell=tell)
    except BrokenPipeError:
        raise
    except EdgewiseError as error:
        return error
    except Exception as bug:  # noqa: BLE001 - the top of a process
        LOGGER.critical("%s: %s", type(bug).__name__, bug, exc_info=bug)
        return InvalidRunError(f"process {place} of the fleet failed: {type(bug).__name__}: {bug}")
    return None
