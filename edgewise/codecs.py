"""Images to payloads and back: uint8 arrays of height x width x 3, RGB."""

import io
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgewise.errors import FrameError
from edgewise.messages import Codec, Frame, Rule

JPEG_QUALITY: Final = 90
PIXELS_MAX: Final = 16_000_000
"""More than any payload of legal size holds sensibly; stops decompression bombs."""


def encode(image: NDArray[np.uint8], *, codec: Codec) -> bytes:
    """Write one image as a payload."""
    match codec:
        case Codec.RAW:
            return image.tobytes()
        case Codec.TEXT:
            return " ".join(map(str, image.ravel().tolist())).encode()
        case Codec.PNG | Codec.JPEG:
            out = io.BytesIO()
            Image.fromarray(image).save(
                out, format=codec.upper(), **({"quality": JPEG_QUALITY} if codec is Codec.JPEG else {})
            )
            return out.getvalue()


def decode(frame: Frame) -> NDArray[np.uint8]:
    """Read a frame's image, height x width x 3.

    Raises:
        FrameError: the payload is no such image, or not of the stated size.
    """
    wanted = frame.height * frame.width * 3
    if wanted > PIXELS_MAX * 3:
        raise FrameError(Rule.DIMENSIONS, f"{frame.width} x {frame.height} pixels, {PIXELS_MAX} allowed")
    match frame.codec:
        case Codec.RAW:
            flat = np.frombuffer(frame.payload, dtype=np.uint8)
        case Codec.TEXT:
            flat = _numbers(frame.payload)
        case _:
            return _picture(frame)
    if flat.size != wanted:
        raise FrameError(
            Rule.DIMENSIONS, f"{flat.size} values in the payload, {wanted} in {frame.width} x {frame.height} x 3"
        )
    return flat.reshape(frame.height, frame.width, 3)


def _numbers(payload: bytes) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(bytes(map(int, payload.split())), dtype=np.uint8)
    except ValueError as error:
        raise FrameError(Rule.PAYLOAD, f"text: {error}"[:200]) from error


def _picture(frame: Frame) -> NDArray[np.uint8]:
    try:
        # Pillow warns of what it then refuses or reads all the same; neither is talk for our users.
        quiet = warnings.catch_warnings(action="ignore")
        with quiet, Image.open(io.BytesIO(frame.payload), formats=[frame.codec.upper()]) as picture:
            width, height = picture.size
            same = (width, height) == (frame.width, frame.height)
            # Nothing is decompressed before the size is known to be the stated one.
            image = np.asarray(picture.convert("RGB"), dtype=np.uint8) if same else None
    except Exception as error:
        raise FrameError(Rule.PAYLOAD, f"{frame.codec}: {error}"[:200]) from error
    if image is None:
        found = f"{width} x {height} in the payload"
        raise FrameError(Rule.DIMENSIONS, f"{found}, {frame.width} x {frame.height} in the frame")
    return image
