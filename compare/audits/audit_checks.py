"""The checks of an audit: pure functions that give what was found, its limit and what to do.

What is read, classified again and timed for them stands in ``audit``.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from compare.runs import runfolder
from consumers.ledger.table import Fate
from edgewise import dataset
from edgewise.messages import Codec
from edgewise.statistics import Interval, log_binomials
from edgewise.summary import Summary

REPEATED_MAX: Final = 1.10
"""An engine may be so many times as fast on one image again and again: more, and it remembers its answers."""
CHANCE: Final = 0.999
"""Of a binomial interval: one honest run in a thousand lies outside."""
SHOWN: Final = 5
"""Differing frames that are named, at most."""

Whole = NDArray[np.int64]


class Finding(BaseModel):
    """What one check came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    state: Literal["passed", "failed", "not checked"]
    found: str
    limit: str
    next: str = ""
    """What to do about it; empty when it passed."""
    numbers: dict[str, float] = {}
    """What was found, for programs: frames, and shares of 1 or ratios by name."""
    frames: tuple[str, ...] = ()
    """A few of those that differ."""


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """The frames that one engine with one model answered in one tier, each to the image that was planned."""

    tier: str
    engine: str
    model: str
    """Its identity, as the results carry it."""
    camera: Sequence[str]
    number: Whole
    image: Whole
    truth: Whole
    label: Whole

    def named(self, place: int) -> str:
        """Name a frame as people find it in the table."""
        return f"{self.camera[place]} number {self.number[place]}, image {self.image[place]}"


def wrong_truth(table: pa.Table, split: dataset.Split) -> int:
    """Count the frames whose truth is not the class that a split gives to their image."""
    known = table.filter(pc.is_valid(table["truth"]))
    image, said = (np.asarray(known[name], dtype=np.int64) for name in ("image", "truth"))
    outside = (image < 0) | (image >= len(split.labels))
    return int((outside | (split.labels[np.where(outside, 0, image)] != said)).sum())


def files(folder: Path, manifest: Mapping[str, Any]) -> Finding:
    """Hold the result files to the checksums in the manifest."""
    known: Mapping[str, str] = manifest.get("files", {})
    limit = "as the manifest's SHA-256"
    if not known:
        mend = "a ledger's folder has none, nor has a run of an older version"
        return Finding(check="files", state="not checked", found="no checksums", limit=limit, next=mend)
    changed = [
        name for name, sha in known.items() if not (folder / name).exists() or runfolder.sha256(folder / name) != sha
    ]
    return Finding(
        check="files",
        state="failed" if changed else "passed",
        found=f"changed since the run: {', '.join(changed)}" if changed else f"{len(known)} of {len(known)} unchanged",
        limit=limit,
        next="do not use these numbers; take the folder as it was after the run, or run again" if changed else "",
        numbers={"files": len(known), "changed": len(changed)},
    )


def counts(tier: str, summary: Summary, table: pa.Table) -> Finding:
    """Count results and right ones anew, from the table, and hold the summary to that."""
    mine = table.filter(pc.equal(table["tier"], tier))
    mine = mine.filter(pc.equal(mine["fate"], Fate.ANSWERED.value))
    right = pc.and_(mine["right_image"], pc.equal(mine["label"], mine["truth"]))
    there = mine.num_rows, int(pc.sum(right).as_py() or 0)
    told = summary.tiers[tier].results, summary.tiers[tier].correct
    return Finding(
        check=f"counts, {tier}",
        state="passed" if there == told else "failed",
        found=f"{there[1]:,} right of {there[0]:,}",
        limit=f"{told[1]:,} of {told[0]:,}, as the summary",
        next="" if there == told else "the summary is not of this table; write both anew with a run",
        numbers={"results": there[0], "correct": there[1]},
    )


def truth(table: pa.Table, split: dataset.Split) -> Finding:
    """Hold the table's truth to the data set, whose own checksum was tested as it was loaded."""
    wrong = wrong_truth(table, split)
    return Finding(
        check="truth",
        state="failed" if wrong else "passed",
        found=f"{wrong:,} rows with another class than their images have in {split.name}",
        limit="0",
        next="the table's truth was changed: its accuracy must not be used; run again" if wrong else "",
        numbers={"rows": wrong},
    )


def labels(group: Answered, differ: Whole, again: Whole, *, sampled: int, ties: int, codec: Codec) -> Finding:
    """Say whether a sample's labels are those that the same model gives today.

    Args:
        group: all that the engine answered.
        differ: places in it of the frames whose label is another one now.
        again: the label that each of them has now.
        sampled: frames classified again.
        ties: of them, those that differ where the model cannot decide; they are not in ``differ``.
        codec: that the images went through, as the run's did.
    """
    same = sampled - len(differ)
    tied = f", {ties:,} of them but for a tie" if ties else ""
    lossy = "; through JPEG, as in the run: its pixels are not the camera's" if codec is Codec.JPEG else ""
    mend = "the model did not give these labels: was it another --codec? If not, the table was changed"
    pairs = list(zip(differ.tolist(), again.tolist(), strict=True))[:SHOWN]
    return Finding(
        check=f"same labels, {group.tier}",
        state="failed" if len(differ) else "passed",
        found=f"{same:,} of {sampled:,} frames ({same / sampled * 100:.2f} %) with {group.engine}{tied}{lossy}",
        limit="all",
        next=mend if len(differ) else "",
        numbers={"frames": sampled, "same": same, "ties": ties, "share": same / sampled},
        frames=tuple(
            f"{group.named(place)}: {_class(int(group.label[place]))} in the run, {_class(now)} now"
            for place, now in pairs
        ),
    )


def _class(label: int) -> str:
    return dataset.CLASSES[label] if 0 <= label < len(dataset.CLASSES) else f"class {label}"


def one_image(name: str, varied_hz: Sequence[float], repeated_hz: Sequence[float]) -> Finding:
    """Say whether an engine is faster on one image again and again: round by round, and the median counts."""
    ratio = statistics.median(one / many for many, one in zip(varied_hz, repeated_hz, strict=True))
    many, one = statistics.median(varied_hz), statistics.median(repeated_hz)
    failed = ratio > REPEATED_MAX
    mend = "does it remember answers? Then no speed of it may be used; if other work disturbed, audit again"
    return Finding(
        check=f"one image, {name}",
        state="failed" if failed else "passed",
        found=f"{ratio:.2f} times as many images in a CPU second as of many ({one:,.0f} and {many:,.0f})",
        limit=f"{REPEATED_MAX:.2f}",
        next=mend if failed else "",
        numbers={"ratio": ratio, "varied_hz": many, "repeated_hz": one},
    )


def shuffled_truth(group: Answered, *, seed: int) -> Finding:
    """Judge the run's labels by a seeded permutation of the truth: no more than chance may be left."""
    frames = len(group.label)
    right = int((group.label == np.random.default_rng(seed).permutation(group.truth)).sum())
    expected = sum(
        float((group.label == one).mean() * (group.truth == one).mean()) for one in np.unique(group.label).tolist()
    )
    within = chance(frames, expected)
    inside = within.low <= right / frames <= within.high
    true = float((group.label == group.truth).mean())
    return Finding(
        check=f"shuffled truth, {group.tier}",
        state="passed" if inside else "failed",
        found=f"{right / frames * 100:.2f} % right; by the true classes {true * 100:.2f} %",
        limit=f"{within.low * 100:.2f} to {within.high * 100:.2f} %, by chance",
        next=""
        if inside
        else "labels and truth are bound together: look at how the run was judged; try another --seed",
        numbers={
            "frames": frames,
            "share": right / frames,
            "expected": expected,
            "low": within.low,
            "high": within.high,
        },
    )


def chance(frames: int, share: float) -> Interval:
    """Give the binomial interval that CHANCE of all shares lie in, both ends included."""
    if not 0 < share < 1:
        return Interval(share, share)
    right = np.arange(frames + 1)
    below = np.cumsum(
        np.exp(log_binomials(frames, most=frames) + right * np.log(share) + (frames - right) * np.log1p(-share))
    )
    low, high = np.searchsorted(below, [(1 - CHANCE) / 2, (1 + CHANCE) / 2])
    return Interval(int(low) / frames, min(int(high), frames) / frames)
