"""Whether a run's account is complete, frame by frame: one fate on each tier, and none that nobody can explain.

Run by ``try.sh`` inside the image: ``accounted.py FOLDER [EXCUSE...]``. How fast it went is the ledger's verdict and
not looked at here: a machine that is busy with the check itself says little of that. What a kill may cost is told by
when it was, in seconds since 1970: ``forgot=AT`` of a mosquitto, which forgets what it had not passed on, and whose
readers come back one after the other; ``killed=FLEET@AT`` of a fleet, which gives no account of what it did not send.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from consumers.ledger.table import FILE, Fate
from edgewise.clock import SECOND_NS
from edgewise.messages import Tier
from edgewise.summary import Summary

Row = Mapping[str, Any]
COLUMNS = ["camera", "number", "tier", "fate", "due_ns", "copies"]
BEFORE_S, AFTER_S = 60, 10
"""How long a frame may have waited in a mosquitto that is killed, and how long its readers take to come back."""
ON_ITS_WAY_S = 2
"""How old a frame may be that a killed fleet was about to send."""


def excused(row: Row, excuses: Sequence[str]) -> bool:
    """Say whether a frame without an answer is one that its camera, or a kill, accounts for."""
    due_s, fate = row["due_ns"] / SECOND_NS, Fate(row["fate"])
    forgot = [float(one.removeprefix("forgot=")) for one in excuses if one.startswith("forgot=")]
    killed = [one.removeprefix("killed=").split("@") for one in excuses if one.startswith("killed=")]
    # What a frame's camera itself says that nobody got is accounted for, and no loss on the way.
    if fate is Fate.DROPPED:
        return True
    if fate in {Fate.UNHEARD, Fate.REFUSED}:
        return bool(forgot)
    if fate is Fate.NO_ACCOUNT:
        return any(row["camera"].startswith(f"{fleet}-") and due_s > float(at) - ON_ITS_WAY_S for fleet, at in killed)
    # Each reader has its own queue there: what the bridge had got, the gateway beside it may have lost.
    lost = fate is Fate.UNBRIDGED or (fate is Fate.UNANSWERED and row["tier"] == Tier.GATEWAY)
    return lost and any(at - BEFORE_S < due_s < at + AFTER_S for at in forgot)


def judged(rows: Iterable[Row], *, scheduled: int, excuses: Sequence[str]) -> tuple[list[str], list[str]]:
    """Give a line for each tier, and what is wrong."""
    tiers: dict[str, list[Row]] = {}
    for row in rows:
        tiers.setdefault(row["tier"], []).append(row)
    told, problems = [], [] if tiers else ["no tier owed anything"]
    for tier, mine in tiers.items():
        fates, copies = Counter(row["fate"] for row in mine), sum(row["copies"] for row in mine)
        told.append(f"{tier}: {dict(fates)}, copies {copies:,}")
        frames = {(row["camera"], row["number"]) for row in mine}
        if not len(frames) == len(mine) == scheduled:
            problems.append(f"{tier}: {scheduled:,} were scheduled, {len(frames):,} have a fate, in {len(mine):,} rows")
        wrong = [row for row in mine if row["fate"] != Fate.ANSWERED and not excused(row, excuses)]
        problems += [
            f"{tier}: {count:,} {fate}, such as {next(_named(row) for row in wrong if row['fate'] == fate)}"
            for fate, count in Counter(row["fate"] for row in wrong).items()
        ]
    return told, problems


def _named(row: Row) -> str:
    return f"{row['camera']}/{row['number']}, due {row['due_ns'] / SECOND_NS:.3f}"


def main(folder: Path, excuses: Sequence[str]) -> int:
    """Print what became of the frames; 1 if it is not told of each."""
    summary = Summary.model_validate_json((folder / "summary.json").read_text())
    rows = pq.read_table(folder / FILE, columns=COLUMNS).to_pylist()
    told, problems = judged(rows, scheduled=summary.frames.scheduled, excuses=excuses)
    lines = [f"{summary.frames.scheduled:,} scheduled", *told]
    sys.stdout.write("".join(f"try: {line}\n" for line in lines))
    sys.stdout.write("".join(f"try: NOT ACCOUNTED FOR: {problem}\n" for problem in problems))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
