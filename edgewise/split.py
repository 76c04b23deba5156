"""Whose frame it is where each goes to one tier alone: a rule that every part computes alike, in any language.

The CRC-32 of ``<seed>/<camera>/<number>`` (UTF-8, numbers in decimal) goes through the finalizer of
MurmurHash3; if the result is even the frame is the gateway's, if it is odd the cluster's. The CRC alone would not do:
it is linear, so that the parity of consecutive numbers is a pattern, and the same one for all cameras.
"""

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.messages import Frame, Tier

TIERS: Final = (Tier.GATEWAY, Tier.CLUSTER)
"""Of an even result, and of an odd one."""
WORD: Final = 0xFFFFFFFF
"""All arithmetic is on 32 bits."""
FACTORS: Final = (0x85EBCA6B, 0xC2B2AE35)


def owner(camera: str, number: int, *, seed: int) -> Tier:
    """Give the tier that a frame belongs to."""
    mixed = zlib.crc32(f"{seed}/{camera}/{number}".encode())
    mixed = ((mixed ^ mixed >> 16) * FACTORS[0]) & WORD
    mixed = ((mixed ^ mixed >> 13) * FACTORS[1]) & WORD
    return TIERS[(mixed ^ mixed >> 16) & 1]


def owns(tier: Tier, frame: Frame, *, seed: int | None) -> bool:
    """Say whether a frame is a tier's to answer; without a seed every frame is."""
    return seed is None or owner(frame.camera, frame.number, seed=seed) is tier


def owned(tier: Tier, camera: str, *, frames: int, seed: int | None) -> NDArray[np.bool_]:
    """Give a mask over a camera's schedule of the frames that are a tier's; without a seed all are."""
    if seed is None:
        return np.ones(frames, dtype=np.bool_)
    begun = zlib.crc32(f"{seed}/{camera}/".encode())
    mixed = np.fromiter((zlib.crc32(b"%d" % number, begun) for number in range(frames)), np.uint32, frames)
    for shift, factor in zip((16, 13), FACTORS, strict=True):
        mixed = (mixed ^ mixed >> np.uint32(shift)) * np.uint32(factor)  # overflows as it is to
    odd: NDArray[np.bool_] = ((mixed ^ mixed >> np.uint32(16)) & np.uint32(1)).astype(np.bool_)
    return odd if tier is TIERS[1] else ~odd
