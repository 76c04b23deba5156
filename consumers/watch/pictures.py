"""The wall's pictures: frames decoded once, small, and none that would cost much."""

from threading import Lock
from typing import Final

import numpy as np
from PIL import Image

from consumers.watch.look import Picture, Tile
from edgewise import codecs
from edgewise.errors import FrameError
from edgewise.messages import decode_frame

PIXELS_MOST: Final = 640 * 480
"""Of a frame that is decoded: a few bytes of PNG may be many pixels."""
SIDE_MOST: Final = 96
"""Pixels of a picture on the wall; a larger frame is made smaller."""
KEPT_MOST: Final = 512
"""Pictures that are remembered: 14 MB of the largest."""


def decoded(wire: bytes) -> Picture | None:
    """Decode a frame; None for one that the tiers reject, or that is larger than the wall shows."""
    try:
        frame = decode_frame(wire)
        if frame.width * frame.height > PIXELS_MOST:
            return None
        image = codecs.decode(frame)
    except FrameError:
        return None
    times = -(-max(frame.width, frame.height) // SIDE_MOST)
    if times > 1:
        image = np.asarray(Image.fromarray(image).reduce(times))
    height, width, _ = image.shape
    return Picture(image.tobytes(), width, height)


class Pictures:
    """Those of one run that were shown last, each decoded once for everybody who looks."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._kept: dict[tuple[str, int], Picture | None] = {}

    def of(self, tile: Tile) -> Picture | None:
        """Give a tile's picture; None if there is none to be shown."""
        if tile.number is None or tile.wire is None:
            return None
        key = (tile.camera, tile.number)
        with self._turn:
            if key in self._kept:
                return self._kept[key]
        picture = decoded(tile.wire)
        with self._turn:
            self._kept[key] = picture
            while len(self._kept) > KEPT_MOST:
                del self._kept[next(iter(self._kept))]
        return picture
