"""What decides the weights of each network, and nothing that takes long to load."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from edgewise.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the weights."""

    network: str
    seed: int = 1
    epochs: int
    batch: int = 128
    peak_rate: float
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    warm_up: float = 0.25
    """Share of the steps in which the learning rate rises."""
    precision: str = "mixed_bfloat16"
    """Of the arithmetic; weights stay float32."""


RECIPES: Final[Mapping[str, Recipe]] = {
    recipe.network: recipe
    for recipe in (
        Recipe(network="resnet20", epochs=64, peak_rate=0.3, label_smoothing=0.05),
        Recipe(network="cifar_cnn", epochs=20, peak_rate=0.05),
        Recipe(network="bigdl_cnn", epochs=12, peak_rate=0.1),
    )
}
"""By the network's name. Without batch normalisation a network bears a lower rate only."""


def named(network: str, *, epochs: int | None = None, seed: int = 1) -> Recipe:
    """Give a network's recipe, with other epochs or another seed.

    Raises:
        ConfigError: there is no such network.
    """
    if network not in RECIPES:
        raise ConfigError(f"there is no network {network!r}; there are {', '.join(RECIPES)}")
    known = RECIPES[network]
    return replace(known, epochs=epochs or known.epochs, seed=seed)
