"""Which images a run's frames are of: the data set's that is here, or a folder's pictures, by their SHA-256."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from compare.audits import audit_checks
from edgewise import dataset, pictures
from edgewise.errors import ConfigError
from edgewise.parts import say
from edgewise.summary import Images, Summary

OF_A_FLEET: Final = "^(.*)-[0-9]+$"
"""What a camera is called."""


def parted(table: pa.Table, summary: Summary, folders: Sequence[Path]) -> Iterator[tuple[str, pa.Table, dataset.Split]]:
    """Part a run's frames by what their images are of; give the fleets, their frames, and all those images.

    Raises:
        ConfigError: images are not here.
    """
    by_sha: dict[str, list[str]] = {}
    for fleet, sent in summary.images.items():
        by_sha.setdefault(sent.sha256, []).append(fleet)
    if not by_sha:  # of an older version, which had no others than the data set's
        yield "", table, split_of(table)
        return
    own = [pictures.load(folder, say=say) for folder in folders]
    fleet_of = pc.replace_substring_regex(table["camera"].cast(pa.string()), OF_A_FLEET, r"\1")
    for sha256, fleets in by_sha.items():
        mine = table.filter(pc.is_in(fleet_of, value_set=pa.array(fleets)))
        sent = summary.images[fleets[0]]
        names = ", ".join(fleets) if len(by_sha) > 1 else ""
        if sent.dataset != pictures.NAME:
            yield names, mine, split_of(mine)
            continue
        found = next((one for one in own if one.sha256 == sha256), None)
        if found is None:
            raise ConfigError(_not_here(fleets[0], sent, folders))
        yield names, mine, found.split()


def _not_here(fleet: str, sent: Images, folders: Sequence[Path]) -> str:
    what = f"{fleet} sent {sent.images:,} pictures of a folder {sent.split!r} (SHA-256 {sent.sha256[:12]})"
    if not folders:
        return f"{what}; say where they are: --images DIR"
    return f"{what}, and --images {', '.join(map(str, folders))} holds others; give the folder as it was at the run"


def split_of(table: pa.Table) -> dataset.Split:
    """Give the split that the truth is of: test, or train if all of it is that one's.

    Raises:
        ConfigError: it is of no data set that is here.
    """
    test = dataset.load("test", say=say)
    if not table.num_rows or pc.all(pc.is_null(table["truth"])).as_py():
        raise ConfigError("the run's frames are of a data set that is not here, so nothing can be classified again")
    if audit_checks.wrong_truth(table, test):
        train = dataset.load("train", say=say)
        return test if audit_checks.wrong_truth(table, train) else train
    return test
