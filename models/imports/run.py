"""Import a model file of any known format: read, given its pixels and softmax, measured, written with a card."""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edgewise import dataset
from edgewise.errors import ConfigError
from edgewise.quiet import quiet_stderr
from models import card, engine
from models.card import Card
from models.identity import weights_sha256
from models.imports import formats
from models.imports.formats import Format
from models.imports.pixels import Floats, Pixels, Scaling, chosen
from models.imports.refusal import refused

if TYPE_CHECKING:
    import keras

    from models.imports.network import Network

Say = Callable[[str], None]
BATCH: Final = 100
NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")
"""What a model may be called: it stands in results, and in the names of files."""
LIBRARIES: Final = {
    Format.KERAS: ("keras",),
    Format.KERAS_H5: ("keras", "h5py"),
    Format.BIGDL: ("keras", "javaobj-py3"),
    Format.ONNX: ("onnx",),
    Format.SAVED_MODEL: ("onnx", "tf2onnx", "tensorflow-cpu"),
}
"""By format: whose versions the card tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user wants."""

    file: Path
    """The model file, or a SavedModel's folder."""
    name: str | None = None
    """Of the model; None is the file's."""
    out: Path = Path()
    """Folder for the model file and its card."""
    pixels: Pixels | None = None
    """How they were scaled in training; None is found out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made:
    """A model as the engines take it, not yet measured."""

    content: bytes
    suffix: str
    weights_sha256: str
    parameters: int
    changes: dict[str, Any]
    """What was put before and behind the network."""


def run(asked: Asked, *, say: Say) -> tuple[Path, Card]:
    """Import a model; give its file, and the card beside it.

    Raises:
        ConfigError: it cannot be imported, or would replace a file that is not its own.
        MissingError: a library or the data set is not here.
    """
    name = asked.file.resolve().stem if asked.name is None else asked.name
    if not NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: expected letters, digits, dots, dashes; the first a letter or digit")
    kind = formats.of(asked.file)
    say(f"{asked.file}: {kind}")
    source = _sha256(asked.file)
    made = READERS[kind](asked, name, say)
    place = asked.out / f"{name}{made.suffix}"
    _refuse_to_replace(place, made.content, source=source)
    asked.out.mkdir(parents=True, exist_ok=True)
    # Measured before it is put where it belongs: what no engine takes, leaves nothing behind.
    with tempfile.TemporaryDirectory(dir=asked.out, prefix=f".{name}.") as folder:
        tried = Path(folder) / place.name
        tried.write_bytes(made.content)
        correct, images = _measured(tried, name=name)
        tried.replace(place)
    written = card.write(
        place,
        name=name,
        weights_sha256=made.weights_sha256,
        parameters=made.parameters,
        correct=correct,
        images=images,
        recipe={"imported_from": asked.file.name, "format": str(kind), "sha256": source, **made.changes},
        epochs=[],
        trained_with={
            "trained": "elsewhere; how, the file does not say",
            "imported_with": {library: version(library) for library in LIBRARIES[kind]},
            "measured_with": "keras" if made.suffix == ".keras" else "onnxruntime",
            "command": f"edgewise models import {asked.file.name} --name {name}",
        },
    )
    return place, written


def _sha256(file: Path) -> str:
    """Hash a file; of a folder the names and contents of all that is in it."""
    digest = hashlib.sha256()
    if file.is_file():
        digest.update(file.read_bytes())
    for inside in sorted(one for one in file.rglob("*") if one.is_file()) if file.is_dir() else ():
        digest.update(f"{inside.relative_to(file).as_posix()}\n".encode())
        digest.update(hashlib.sha256(inside.read_bytes()).digest())
    return digest.hexdigest()


def _refuse_to_replace(place: Path, content: bytes, *, source: str) -> None:
    """Raise ConfigError if a file stands there that is neither the same nor an earlier import of the source."""
    if not place.exists() or place.read_bytes() == content:
        return
    known = card.known(place).card if card.card_path(place).exists() else None
    if known is None or known.recipe.get("sha256") != source:
        raise ConfigError(
            f"{place} is another model; name this one otherwise with --name, or another folder with --out"
        )


def _measured(file: Path, *, name: str) -> tuple[int, int]:
    """Classify all test images with the engine that is nearest to the file."""
    split = dataset.load("test", say=lambda _: None)
    with quiet_stderr():
        loaded = engine.load("keras" if file.suffix == ".keras" else "onnx", model=str(file))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    correct = 0
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"{name}, test images", total=len(split.images))
        for at in range(0, len(split.images), BATCH):
            labels, _ = loaded.classify(np.array(split.images[at : at + BATCH]))
            correct += int((labels == split.labels[at : at + BATCH]).sum())
            progress.advance(task, len(labels))
    return correct, len(split.images)


def _refuse_others(file: Path, shape: tuple[int, ...], outputs: tuple[int | None, ...]) -> None:
    """Raise ConfigError for a network that is no classifier for the data set."""
    wanted = f"{' x '.join(map(str, dataset.SHAPE))} images and {len(dataset.CLASSES)} classes"
    if shape != dataset.SHAPE or outputs != (len(dataset.CLASSES),):
        told = " x ".join(str(one) for one in outputs)
        raise refused(file, f"expected a network for {wanted}, found one for {' x '.join(map(str, shape))} and {told}")


def _fitting(ask: Callable[[Floats], Floats], asked: Asked, *, takes_pixels: bool, say: Say) -> tuple[Scaling, bool]:
    """Give the scaling, and whether the outputs are probabilities."""
    if takes_pixels and asked.pixels not in {None, Pixels.AS_IS}:
        raise refused(
            asked.file, f"it takes uint8 and scales its pixels itself; --pixels {asked.pixels} would scale them twice"
        )
    wanted = Pixels.AS_IS if takes_pixels else asked.pixels
    return chosen(ask, train=dataset.load("train", say=say), asked=wanted, say=say)


# --- one for each format ---------------------------------------------------------------------------


def _keras_h5(asked: Asked, name: str, say: Say) -> _Made:
    from models.imports import keras_h5

    return _built(keras_h5.read(asked.file), asked, name, say)


def _bigdl(asked: Asked, name: str, say: Say) -> _Made:
    from models.imports import bigdl

    return _built(bigdl.read(asked.file, shape=dataset.SHAPE), asked, name, say)


def _keras(asked: Asked, name: str, say: Say) -> _Made:
    from models import keras_file
    from models.imports import keras_zip

    model = keras_file.read(asked.file)
    network = keras_zip.read(asked.file, model)
    return _built(network, asked, name, say, as_it_is=model if keras_zip.takes_pixels(model) else None)


def _built(network: "Network", asked: Asked, name: str, say: Say, *, as_it_is: "keras.Model | None" = None) -> _Made:
    """Build a Keras model of a network, unless it is one already that may stay as it is."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet_stderr():
        import keras  # noqa: F401 - greets, once
    from models.identity import keras_weights
    from models.imports.network import finished, outputs

    ask, given = outputs(network)
    _refuse_others(asked.file, network.shape, given)
    takes_pixels = as_it_is is not None
    scaling, probable = _fitting(ask, asked, takes_pixels=takes_pixels, say=say)
    if as_it_is is not None and probable:
        model, content = as_it_is, asked.file.read_bytes()
    else:
        model = finished(network, scaling=None if takes_pixels else scaling, softmax=not probable, name=name)
        content = _saved(model)
    return _Made(
        content=content,
        suffix=".keras",
        weights_sha256=weights_sha256(keras_weights(model)),
        parameters=model.count_params(),
        changes=_changes(scaling, probable, takes_pixels=takes_pixels),
    )


def _saved(model: "keras.Model") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model.keras"
        model.save(place)
        return place.read_bytes()


def _changes(scaling: Scaling, probable: bool, *, takes_pixels: bool) -> dict[str, Any]:  # noqa: FBT001 - as it was found
    return {"pixels": "scaled by itself" if takes_pixels else str(scaling.pixels), "softmax_added": not probable}


def _onnx(asked: Asked, name: str, say: Say) -> _Made:  # noqa: ARG001 - as the others
    return _from_onnx(asked.file, asked, say)


def _saved_model(asked: Asked, name: str, say: Say) -> _Made:  # noqa: ARG001 - as the others
    from models.imports import saved_model

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model.onnx"
        say("tf2onnx makes an ONNX file of it ...")
        saved_model.convert(asked.file, place)
        return _from_onnx(place, asked, say)


def _from_onnx(file: Path, asked: Asked, say: Say) -> _Made:
    from models.imports import onnx

    network = onnx.read(file)
    _refuse_others(asked.file, network.shape, (network.classes,))
    ask = onnx.outputs(file, network)
    scaling, probable = _fitting(ask, asked, takes_pixels=network.takes_pixels, say=say)
    weights = network.weights
    return _Made(
        content=onnx.finished(network, scaling=None if network.takes_pixels else scaling, softmax=not probable),
        suffix=".onnx",
        weights_sha256=weights_sha256(weights),
        parameters=sum(values.size for values in weights.values()),
        changes=_changes(scaling, probable, takes_pixels=network.takes_pixels),
    )


READERS: Final[dict[Format, Callable[[Asked, str, Say], _Made]]] = {
    Format.KERAS: _keras,
    Format.KERAS_H5: _keras_h5,
    Format.BIGDL: _bigdl,
    Format.ONNX: _onnx,
    Format.SAVED_MODEL: _saved_model,
}


def told(place: Path, written: Card) -> str:
    """Say in one line what came of it."""
    return (
        f"{os.fspath(place)}: {written.identity}, {written.parameters:,} parameters, "
        f"{written.correct:,} of {written.images:,} test images right ({100 * written.accuracy:.2f} %)"
    )
