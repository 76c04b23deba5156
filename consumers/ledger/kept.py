"""What the ledger keeps of the first record of each frame: numbers, column by column.

A run of a million frames has three million such records. As objects they would take 3 GB, and building a
table from them minutes; as columns they take a tenth of that, and are the table's already.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgewise.account import FRAMES_MOST

NONE: Final = -1
"""The row of a frame of which there is no record."""
Numbers = NDArray[Any]


class Kept:
    """One row for each frame, in the order in which they came, to be found by camera and number."""

    def __init__(self, **codes: str) -> None:
        """Begin empty; a column is its name and the code of its numbers, as ``array`` has them."""
        self._columns: dict[str, array[Any]] = {name: array(code) for name, code in codes.items()}
        self._values = tuple(self._columns.values())
        self._rows: dict[str, array[int]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Count the frames."""
        return self._count

    def row(self, camera: str, number: int) -> int:
        """Find a frame's row; NONE if there is no record of it."""
        rows = self._rows.get(camera)
        return rows[number] if rows is not None and 0 <= number < len(rows) else NONE

    def add(self, camera: str, number: int, values: Iterable[float]) -> None:
        """Keep the first record of a frame.

        Raises:
            OverflowError: no plan can have that number, or a column cannot hold its value.
        """
        if not 0 <= number < FRAMES_MOST:
            raise OverflowError(number)
        try:
            for column, value in zip(self._values, values, strict=True):
                column.append(value)
        except OverflowError:
            for column in self._values:
                del column[self._count :]
            raise
        rows = self._rows.setdefault(camera, array("i"))
        if number >= len(rows):
            rows.extend(array("i", [NONE]) * (number + 1 - len(rows)))
        rows[number] = self._count
        self._count += 1

    def of(self, row: int) -> dict[str, Any]:
        """Give what one row holds, by its columns."""
        return {name: column[row] for name, column in self._columns.items()}

    def column(self, name: str) -> "array[Any]":
        """Give a column, to be read and changed row by row."""
        return self._columns[name]

    def numbers(self, name: str, *, since: int = 0) -> Numbers:
        """Give a copy of a column from a row on."""
        column = self._columns[name]
        return np.array(column[since:] if since else column, dtype=column.typecode)

    def rows(self, camera: str, *, frames: int) -> NDArray[np.int32]:
        """Give the rows of a camera's first so many frames; NONE where there is no record."""
        found = np.full(frames, NONE, dtype=np.int32)
        if (rows := self._rows.get(camera)) is not None:
            known = np.array(rows[:frames], dtype=np.int32)
            found[: len(known)] = known
        return found


class Words:
    """Words as small numbers: of engines, models and workers there are few."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def code(self, word: str) -> int:
        """Give a word's number."""
        return self._codes.setdefault(word, len(self._codes))

    def words(self) -> Sequence[str]:
        """Give all words, by their numbers."""
        return list(self._codes)
