"""What the wall's pictures may cost: nothing large is decoded, nothing twice, and nobody waits for it who reads."""

from threading import Event, Thread

import numpy as np
import pytest

from consumers.watch import pictures
from consumers.watch.cameras import FRAME_MOST_BYTES
from consumers.watch.look import Picture, Tile
from consumers.watch.pictures import KEPT_MOST, SIDE_MOST, Pictures, decoded
from edgewise import codecs
from edgewise.clock import ManualClock
from edgewise.messages import Codec, Frame
from tests.watching import START_NS, feed, frame


def wire(side: int, codec: Codec) -> bytes:
    """Give a frame of one colour: few bytes, however many pixels."""
    image = np.full((side, side, 3), (200, 100, 50), dtype=np.uint8)
    return frame("camera-0", 0, payload=codecs.encode(image, codec=codec), codec=codec, side=side).value


def test_a_few_bytes_that_are_many_pixels_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = wire(2000, Codec.PNG)
    assert len(bomb) < FRAME_MOST_BYTES * 2
    monkeypatch.setattr(codecs, "decode", lambda _: pytest.fail("decoded"))
    assert decoded(bomb) is None


@pytest.mark.parametrize("codec", [Codec.PNG, Codec.JPEG, Codec.RAW])
@pytest.mark.parametrize(("side", "shown"), [(32, 32), (96, 96), (97, 49), (128, 64), (500, 84)])
def test_a_picture_is_made_small(codec: Codec, side: int, shown: int) -> None:
    picture = decoded(wire(side, codec))
    assert picture is not None
    assert (picture.width, picture.height, len(picture.rgb)) == (shown, shown, shown * shown * 3)
    assert shown <= SIDE_MOST
    assert np.abs(np.frombuffer(picture.rgb[:3], dtype=np.uint8).astype(int) - (200, 100, 50)).max() < 3


def test_what_the_tiers_reject_has_no_picture() -> None:
    assert decoded(wire(32, Codec.PNG)[:-1]) is None
    assert decoded(frame("camera-0", 0, payload=b"no picture", codec=Codec.PNG).value) is None


def test_each_picture_is_decoded_once_and_a_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def counted(found: bytes) -> Picture:
        asked.append(found)
        return Picture(b"abc", 1, 1)

    monkeypatch.setattr(pictures, "decoded", counted)
    kept = Pictures()
    tiles = [Tile("camera-0", number, "", (), b"%d" % number) for number in range(KEPT_MOST + 3)]
    for _ in range(3):
        assert kept.of(tiles[0]) == Picture(b"abc", 1, 1)
    assert len(asked) == 1
    for tile in tiles:
        kept.of(tile)
    assert len(kept._kept) == KEPT_MOST  # noqa: SLF001 - nobody else can see it
    assert kept.of(Tile("camera-0", None, "", (), None)) is kept.of(Tile("camera-0", 3, "", (), None)) is None


def test_who_reads_does_not_wait_for_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = Event(), Event()

    def slow(found: Frame) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
        begun.set()
        assert go_on.wait(20)
        return np.zeros((found.height, found.width, 3), dtype=np.uint8)

    monkeypatch.setattr(codecs, "decode", slow)
    source = feed(ManualClock(start_ns=START_NS), records=[frame("camera-0", 0)])
    looks = Thread(target=lambda: source.wall(order="name", first=0, count=1))
    looks.start()
    assert begun.wait(20)
    read = Thread(target=lambda: source.add([frame("camera-0", 1)]))
    read.start()
    read.join(timeout=20)
    assert not read.is_alive()
    go_on.set()
    looks.join()
