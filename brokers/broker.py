"""One embedded broker, whichever it is: a child process that keeps its port and its data.

What differs between brokers is a ``Recipe``; starting, waiting, stopping and killing
are the same for all and stand here.
"""

import signal
from pathlib import Path
from typing import Final, Protocol

from edgewise import addresses, processes
from edgewise.clock import Clock, Deadline, SystemClock
from edgewise.errors import ConfigError, UnreachableError

STOP_WITHIN_S: Final = 10.0
LOOK_AGAIN_S: Final = 0.02


class Recipe(Protocol):
    """How one kind of broker is run."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def start_within_s(self) -> float:
        """When to give up waiting for its first answer, on a slow machine."""

    def command(self, data: Path, *, port: int) -> list[str]:
        """Prepare the folder ``data`` where that is still needed, and give the command line."""

    def answers(self, port: int) -> bool:
        """Say whether the broker on this loopback port serves a client now."""


class Broker:
    """Start it, stop it, kill it, start it again: same port, same data."""

    def __init__(self, recipe: Recipe, *, data: Path, port: int = 0, clock: Clock | None = None) -> None:
        """Nothing runs yet. Port 0 means a free one, chosen now and kept."""
        self.data = data
        self.port = port or addresses.free_port()
        self._recipe = recipe
        self._clock = clock or SystemClock()
        self._child: processes.Child | None = None

    @property
    def name(self) -> str:
        """What kind of broker it is."""
        return self._recipe.name

    @property
    def address(self) -> str:
        """Where clients find it, as host:port."""
        return f"{addresses.LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._child.pid if self._child is not None and self._child.running() else None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs, and before it was started."""
        return None if self._child is None else self._child.exit_code

    @property
    def log(self) -> Path:
        """What it said, over all its starts."""
        return self.data / "broker.log"

    def start(self, *, within_s: float | None = None) -> None:
        """Start it and wait until it answers a client; one that runs is left alone."""
        self.launch()
        self.await_answer(within_s=within_s)

    def launch(self) -> None:
        """Start it and return at once, so that several brokers can start side by side.

        Raises:
            MissingError: a program, Java or jars are missing and could not be fetched.
            ConfigError: someone else listens on its port.
        """
        if self.pid is not None:
            return
        if not addresses.is_free(self.port):
            raise ConfigError(f"{self.name} cannot have port {self.port}: another program listens there; give another")
        self.data.mkdir(parents=True, exist_ok=True)
        command = self._recipe.command(self.data, port=self.port)
        self._child = processes.start(command, name=self.name, log=self.log)

    def await_answer(self, *, within_s: float | None = None) -> None:
        """Wait until it serves clients: an open port alone does not count.

        Raises:
            UnreachableError: it ended or stayed silent; the text has its last words, and nothing is left running.
        """
        within_s = self._recipe.start_within_s if within_s is None else within_s
        deadline = Deadline(self._clock, within_s=within_s)
        while self.pid is not None and not deadline.passed():
            if self._recipe.answers(self.port):
                return
            deadline.pause(for_s=LOOK_AGAIN_S)
        why = f"it was silent for {within_s:.0f} s" if self.pid is not None else "it ended"
        self.kill()
        raise UnreachableError(self.name, at=self.address, hint=f"{why}; the end of {self.log}:\n{self.last_words()}")

    def ask_to_stop(self) -> None:
        """Send SIGTERM and return at once, so that several brokers can stop side by side; ``stop`` follows."""
        if self._child is not None:
            self._child.send(signal.SIGTERM)

    def last_words(self) -> str:
        """Give the end of its log, for an error message."""
        return self._child.tail() if self._child is not None else "  | (it was never started)"

    def last_lines(self) -> list[str]:
        """Give the end of its log, line by line."""
        return self._child.last_lines() if self._child is not None else []

    def stop(self, *, within_s: float = STOP_WITHIN_S) -> None:
        """Stop it cleanly, so that it writes down what it holds; kill it if that takes longer."""
        if self._child is not None:
            self._child.stop(within_s=within_s)

    def kill(self) -> None:
        """End it as a crash would: SIGKILL. Returns when it is gone."""
        if self._child is not None:
            self._child.kill()
