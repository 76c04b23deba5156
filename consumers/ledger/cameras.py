"""One tier, camera by camera: the one that waited longest, and those that were forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from consumers.ledger.columns import Rows
from edgewise.clock import MILLISECOND_NS, SECOND_NS
from edgewise.statistics import SAMPLES_NEEDED, Floats, Mask, nearest_rank
from edgewise.summary import Camera, Limits

Percentile = Literal["p50", "p90", "p99"]
SHARES: Final[Sequence[tuple[Percentile, int]]] = (("p99", 99), ("p90", 90), ("p50", 50))
"""Highest first."""
NAMED: Final = 10
"""Of the starved cameras."""


@dataclass(frozen=True, slots=True)
class ByCamera:
    """Frames sorted by camera, then by latency."""

    names: Sequence[str]
    """Of the cameras that have frames here."""
    frames: NDArray[np.int64]
    """Of each."""
    codes: NDArray[np.int32]
    """What each camera is numbered in the rows."""
    _first: NDArray[np.int64]
    _sorted_ms: Floats

    def percentile(self, share: float) -> Floats:
        """Give one percentile of each camera, by nearest rank; infinite where so much is missing."""
        ranks = np.array([nearest_rank(int(count), share) for count in self.frames], dtype=np.int64)
        values: Floats = self._sorted_ms[self._first + ranks - 1]
        return values


def by_camera(found: Rows, which: Mask) -> ByCamera:
    """Sort some frames by their camera."""
    codes, words = found.codes("camera")
    codes, latency_ms = codes[which], found.latency_ms[which]
    order = np.lexsort((latency_ms, codes))
    numbers, first, frames = np.unique(codes[order], return_index=True, return_counts=True)
    return ByCamera(
        names=[words[number] for number in numbers],
        frames=frames,
        codes=numbers,
        _first=first,
        _sorted_ms=latency_ms[order],
    )


def worst(found: ByCamera) -> Camera | None:
    """Give the camera with the highest percentile, the highest that all cameras have samples for."""
    for name, share in SHARES:
        if len(found.frames) and found.frames.min() >= SAMPLES_NEEDED[share]:
            values = found.percentile(share)
            place = int(values.argmax())
            value = float(values[place])
            return Camera(
                name=found.names[place],
                percentile=name,
                latency_ms=round(value, 3) if np.isfinite(value) else None,
                frames=int(found.frames[place]),
            )
    return None


def starved(found: Rows, measured: ByCamera, limits: Limits) -> NDArray[np.int32]:
    """Give the numbers of the cameras that get far fewer, or far later, answers than half of the cameras do.

    Fewer is judged by all frames scheduled, later by those that latencies are of.
    """
    fewer = np.flatnonzero(_fewer(found, limits)).astype(np.int32)
    later = measured.codes[_later(measured, limits)]
    return np.union1d(fewer, later)


def _judged(frames: NDArray[np.int64]) -> Mask:
    enough: Mask = frames >= SAMPLES_NEEDED[50]
    return enough if enough.sum() > 1 else np.zeros(len(enough), dtype=np.bool_)


def _fewer(found: Rows, limits: Limits) -> Mask:
    codes, words = found.codes("camera")
    frames, answered = (np.bincount(some, minlength=len(words)) for some in (codes, codes[found.answered]))
    judged = _judged(frames)
    if not judged.any():
        return judged
    shares = answered / np.maximum(frames, 1)
    others = float(np.percentile(shares[judged], 50, method="higher"))
    below: Mask = judged & (shares < limits.starved_share * others)
    return below


def _later(found: ByCamera, limits: Limits) -> Mask:
    judged = _judged(found.frames)
    if not judged.any():
        return judged
    p50_ms = found.percentile(50)
    others_ms = float(np.percentile(p50_ms[judged], 50, method="lower"))
    above_ms = limits.starved_s * SECOND_NS / MILLISECOND_NS
    late: Mask = judged & (p50_ms > max(limits.starved_times * others_ms, others_ms + above_ms))
    return late
