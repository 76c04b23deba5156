"""Names for parts that are alike and beside one another: NAME-1, NAME-2, ..., each held by one process at a time.

An MQTT session outlives the process that had it, and whoever comes next must come under the same
name to get what is queued there. So a name is a file in a folder that all of them see, locked
while its process lives; the file stays for as long as the broker may keep something for the name.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Final

from edgewise.errors import ConfigError

ALL: Final = ".lock"
"""Held while somebody takes a name or gives it up, so that no two do so at once."""
LEAVING: Final = "leaving"


class Name:
    """One name of a folder, ours until this process ends."""

    def __init__(self, folder: Path, *, stem: str) -> None:
        """Take a name that was left behind, else the first new one.

        Raises:
            ConfigError: the folder cannot be written.
        """
        self._folder, self._stem = folder, stem
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._file, self._lock = self._taken()
        except OSError as error:
            raise ConfigError(f"--names {folder}: {error.strerror or error}; name a folder to write to") from error

    def __str__(self) -> str:
        """Give the name."""
        return self._file.name

    def _taken(self) -> tuple[Path, int]:
        for file in chain(self._known(), self._new()):
            lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)  # a number, which nothing closes but the process' end
            if _held(lock):
                os.truncate(lock, 0)  # whoever had it before may have been leaving
                return file, lock
            os.close(lock)
        raise AssertionError("new names do not come to an end")

    def _known(self) -> list[Path]:
        """List the names that somebody has or had, in the order of their numbers."""
        found = {int(file.name.rpartition("-")[2]): file for file in self._folder.glob(f"{self._stem}-[0-9]*")}
        return [found[number] for number in sorted(found)]

    def _new(self) -> Iterator[Path]:
        number = 1
        while True:
            file = self._folder / f"{self._stem}-{number}"
            if not file.exists():
                yield file
            number += 1

    def leave(self) -> bool:
        """Say whether to end the session: not if nobody else stays, who would be given its frames.

        From then on this process counts as gone, so that two that leave at the same time do not both rely on the other.
        """
        with self._alone():
            last = not any(self._stays(file) for file in self._known() if file != self._file)
            if not last:
                self._file.write_text(LEAVING)
        return not last

    def _stays(self, file: Path) -> bool:
        """Say whether another process has this name and has not said that it leaves."""
        with file.open("a") as lock:
            return not _held(lock.fileno()) and file.read_text() != LEAVING

    def ended(self) -> None:
        """Give the name up for good: its session has been ended."""
        with self._alone():
            self._file.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._folder / ALL).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _held(lock: int) -> bool:
    """Lock a file if nobody else has it locked; say whether that worked."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
