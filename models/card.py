"""A model's card: what it is, how it was made, how good it is. Kept beside the file as JSON."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edgewise.errors import ConfigError


class Check(BaseModel):
    """How one engine's answers compared with the model's own library's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    identity: str
    """Of the model as the engine ran it: a quantised one has its own."""
    images: int
    """All test images."""
    differ: int
    """Labels that differ."""
    beyond_ties: int
    """Of them, on images that were no tie."""
    allowed: int
    """As many may."""
    apart: float
    """Largest difference of the probability given to the answer."""
    correct: int
    """Images classified rightly by this engine."""
    passed: bool


class Card(BaseModel):
    """What is known of one model file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Of the network, as ``--model`` takes it."""
    file_sha256: str
    """Of the model file, byte by byte."""
    weights_sha256: str
    """Of the weights alone, the same in every file format: the model's identity."""
    parameters: int
    """Trained or not."""
    correct: int
    """Test images classified rightly by Keras."""
    images: int
    """Test images tried: all of them."""
    recipe: dict[str, Any]
    """What decided the weights."""
    epochs: list[dict[str, float]]
    """How training went."""
    trained_with: dict[str, Any]
    """Versions, machine, and the command that trains it again."""
    checks: dict[str, Check] = {}
    """By engine: whether it gives the same answers."""

    @property
    def identity(self) -> str:
        """Name and 12 hex digits, as results carry it."""
        return f"{self.name}@{self.weights_sha256[:12]}"

    @property
    def file_key(self) -> str:
        """Name for what is made of the model file: the weights' hash does not cover strides or scaling."""
        return f"{self.name}-{self.weights_sha256[:12]}-{self.file_sha256[:12]}"

    def same_as(self, engine: str, identity: str) -> bool:
        """Say whether an engine's answers may stand for this model's: its own library's, or an engine's that passed."""
        if engine == "keras":
            return identity == self.identity
        check = self.checks.get(engine)
        return check is not None and check.passed and check.identity == identity

    @property
    def accuracy(self) -> float:
        """Share of the test images."""
        return self.correct / self.images


@dataclass(frozen=True, slots=True)
class Known:
    """What can be said of any model file, with a card or without."""

    identity: str
    """Name and 12 hex digits, as results carry it."""
    file_key: str
    """Name for what is made of the file."""
    card: Card | None


def ran(known: Known, file: Path, *, int8: bool) -> str:
    """Say which model an engine runs from a file: a quantised one is another, and names its parent."""
    if not int8:
        return known.identity
    parent = known.identity.partition("@")[0]
    return f"{parent}-int8@{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"


def card_path(model: Path) -> Path:
    """Say where a model file's card stands."""
    return model.with_suffix(".card.json") if model.suffix == ".keras" else model.with_name(f"{model.name}.card.json")


def known(model: Path) -> Known:
    """Say which model a file is: by its card, or by the file's own bytes where it has none.

    Raises:
        ConfigError: no file, or a file that is not its card's.
    """
    if card_path(model).exists():
        card = read(model)
        return Known(card.identity, card.file_key, card)
    try:
        digest = hashlib.sha256(model.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise ConfigError(f"no model at {model}; the shipped ones are in models/weights") from error
    return Known(f"{model.stem}@{digest}", f"{model.stem}-{digest}", None)


def write(model: Path, **facts: Any) -> Card:  # noqa: ANN401 - checked by Card
    """Write the card of a model file."""
    card = Card(file_sha256=hashlib.sha256(model.read_bytes()).hexdigest(), **facts)
    card_path(model).write_text(card.model_dump_json(indent=1) + "\n")
    return card


def read(model: Path) -> Card:
    """Read a model file's card and check that the file is the one it describes.

    Raises:
        ConfigError: no file, no card, or a file that is not the card's.
    """
    try:
        content = model.read_bytes()
        card = Card.model_validate_json(card_path(model).read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"no model at {error.filename}; the shipped ones are in models/weights") from error
    except ValidationError as error:
        raise ConfigError(f"{card_path(model)} is no model card: {error.errors()[0]['msg']}") from error
    if (found := hashlib.sha256(content).hexdigest()) != card.file_sha256:
        raise ConfigError(
            f"{model} is not the model of its card: SHA-256 {found[:12]} instead of {card.file_sha256[:12]}; "
            "restore it with: git checkout models/weights"
        )
    return card
