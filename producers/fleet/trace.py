"""A trace file -> an arrival pattern.

CSV or Parquet, one row a frame, in any order, with the columns

``camera``: a name or a number. In the order of their names, with digits taken as numbers,
they become the fleet's cameras 0, 1, ...
``time_s``, seconds, or ``due_ns``, whole nanoseconds: when the frame is due. The earliest is
the start of the schedule.
``image``: its place in the split. Without this column the images are dealt.

Other columns are passed over. A ledger's ``frames.parquet`` is such a file: of its rows, one
for each tier that owed the frame, the first is taken.
"""

import hashlib
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from edgewise.account import CAMERAS_MOST
from edgewise.arrivals import LONGEST_S, TRACE_FRAMES_MOST, TRACE_MOST_BYTES, Trace, packed
from edgewise.clock import SECOND_NS
from edgewise.errors import ConfigError

Numbers = NDArray[np.int64]
PARQUET: Final = b"PAR1"
"""How a Parquet file begins."""
TIMES: Final = ("time_s", "due_ns")


def read(path: Path, *, images: int) -> Trace:
    """Read a trace for a split of so many images.

    Raises:
        ConfigError: the file cannot be read, is no trace, or is too large for a plan.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        table = _each_once(_table(path))
        if not 0 < table.num_rows <= TRACE_FRAMES_MOST:
            raise _wrong(path, f"has {table.num_rows:,} frames; a trace has from 1 to {TRACE_FRAMES_MOST:,}")
        cameras, after_ns = _cameras(path, table), _after_ns(path, table)
        chosen = _images(path, table, images=images)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise _wrong(path, f"cannot be read: {reason}") from error
    rows = np.lexsort((after_ns, cameras))
    counts = np.bincount(cameras)
    gaps_ns = np.diff(after_ns[rows], prepend=0)
    firsts = np.concatenate([[0], counts.cumsum()[:-1]])
    gaps_ns[firsts] = after_ns[rows][firsts]
    texts = packed(counts), packed(gaps_ns), "" if chosen is None else packed(chosen[rows])
    size_bytes = sum(len(text) for text in texts)
    if size_bytes > TRACE_MOST_BYTES:
        raise _wrong(
            path,
            f"takes {size_bytes:,} bytes of the run's plan, which holds {TRACE_MOST_BYTES:,}; "
            f"give fewer than its {table.num_rows:,} frames, or times in fewer digits, or divide it among fleets",
        )
    try:
        return Trace(sha256=sha256, counts=texts[0], gaps_ns=texts[1], images=texts[2])
    except ValidationError as error:
        raise _wrong(path, error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def _wrong(path: Path, what: str) -> ConfigError:
    return ConfigError(f"--arrival trace:{path}: {what}")


def _table(path: Path) -> Any:  # noqa: ANN401 - pyarrow ships no types
    with path.open("rb") as file:
        if file.read(len(PARQUET)) == PARQUET:
            wanted = {"camera", "number", "image", "tier", *TIMES} & set(pq.read_schema(path).names)
            return pq.read_table(path, columns=sorted(wanted))
    return pyarrow.csv.read_csv(path)


def _each_once(table: Any) -> Any:  # noqa: ANN401
    """Take each frame once from a table with tiers: by its number, or without numbers the first tier's."""
    if "tier" not in table.column_names or not table.num_rows:
        return table
    if not {"camera", "number"} <= set(table.column_names):
        return table.filter(pc.equal(table["tier"], table["tier"][0]))
    names = table.select(["number"]).append_column("camera", table["camera"].cast(pa.string()))
    names = names.append_column("row", pa.array(np.arange(table.num_rows)))
    first = names.group_by(["camera", "number"]).aggregate([("row", "min")])["row_min"]
    return table.take(np.sort(first.to_numpy()))


def _column(path: Path, table: Any, name: str) -> Any:  # noqa: ANN401
    if name not in table.column_names:
        raise _wrong(path, f"has no column {name}; a trace has camera, time_s or due_ns, and perhaps image")
    column = table[name]
    if column.null_count:
        row = int(pc.index(pc.is_null(column), value=True).as_py()) + 1
        raise _wrong(path, f"column {name} is empty in {column.null_count:,} of {len(column):,} rows, first in {row:,}")
    return column


def _cameras(path: Path, table: Any) -> Numbers:  # noqa: ANN401
    """Give each row's camera, from 0."""
    names = _column(path, table, "camera").cast(pa.string()).to_numpy()
    known = sorted(set(names.tolist()), key=_natural)
    if len(known) > CAMERAS_MOST:
        raise _wrong(path, f"has {len(known):,} cameras; a fleet has {CAMERAS_MOST:,} at most")
    place = {name: index for index, name in enumerate(known)}
    return np.array([place[name] for name in names.tolist()], dtype=np.int64)


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Give what names are ordered by: cam-2 before cam-10."""
    pieces = re.findall(r"[0-9]{1,18}|[^0-9]+", name)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces], name


def _after_ns(path: Path, table: Any) -> Numbers:  # noqa: ANN401
    """Give each row's moment after the earliest."""
    there = [name for name in TIMES if name in table.column_names]
    if len(there) > 1:
        raise _wrong(path, "has both time_s and due_ns; leave one of them out")
    name = (there or TIMES)[0]
    column = _column(path, table, name)
    whole, broken = pa.types.is_integer(column.type), pa.types.is_floating(column.type)
    if not (whole or (broken and name == "time_s")):
        raise _wrong(path, f"column {name} holds {column.type}; it must hold {'whole ' * (name == 'due_ns')}numbers")
    moments: NDArray[Any] = column.to_numpy()
    if broken and not np.isfinite(moments).all():
        raise _wrong(path, f"column {name} holds what is no moment: nan or infinity")
    if name == "due_ns":
        due_ns: Numbers = moments.astype(np.int64)
        due_ns -= due_ns.min()
        return due_ns
    after_s = moments.astype(np.float64) - float(moments.min())
    after_ns: Numbers = np.rint(np.minimum(after_s, 2 * LONGEST_S) * SECOND_NS).astype(np.int64)
    return after_ns


def _images(path: Path, table: Any, *, images: int) -> Numbers | None:  # noqa: ANN401
    if "image" not in table.column_names:
        return None
    column = _column(path, table, "image")
    if not pa.types.is_integer(column.type):
        raise _wrong(path, f"column image holds {column.type}; it must hold whole numbers")
    places: Numbers = column.to_numpy().astype(np.int64)
    if places.min() < 0 or places.max() >= images:
        wrong = places[(places < 0) | (places >= images)][0]
        raise _wrong(path, f"column image names {wrong:,}; the split has 0 to {images - 1:,}")
    return places
