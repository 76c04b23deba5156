"""The hash that says which model this is."""

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from models.identity import weights_sha256

WEIGHTS = {
    "conv/kernel": np.arange(12, dtype=np.float32).reshape(2, 2, 3),
    "conv/bias": np.array([0.5, -1], dtype=np.float32),
}
KNOWN = weights_sha256(WEIGHTS)


def test_the_identity_is_the_sha256_over_names_shapes_and_little_endian_values() -> None:
    digest = hashlib.sha256()
    for name in ("conv/bias", "conv/kernel"):
        digest.update(f"{name}{WEIGHTS[name].shape}".encode() + WEIGHTS[name].astype("<f4").tobytes())
    assert digest.hexdigest() == KNOWN


def test_the_identity_of_known_weights_never_changes() -> None:
    assert KNOWN == "6faf43b776aa6fa6744581068513055b8486e6dc06fb25efc1edabeaf04e7d33"


def test_the_order_of_storing_does_not_matter() -> None:
    assert weights_sha256(dict(reversed(WEIGHTS.items()))) == KNOWN


@pytest.mark.parametrize(
    "kernel",
    [
        np.asfortranarray(WEIGHTS["conv/kernel"]),
        WEIGHTS["conv/kernel"].astype(">f4"),
        WEIGHTS["conv/kernel"].astype(np.float64),
        np.ascontiguousarray(WEIGHTS["conv/kernel"].T).T,
    ],
)
def test_the_layout_in_memory_does_not_matter(kernel: NDArray[np.float32]) -> None:
    assert weights_sha256(WEIGHTS | {"conv/kernel": kernel}) == KNOWN


@pytest.mark.parametrize(
    "other",
    [
        WEIGHTS | {"conv/bias": np.array([0.5, np.nextafter(np.float32(-1), np.float32(0))], dtype=np.float32)},
        WEIGHTS | {"conv/kernel": WEIGHTS["conv/kernel"].reshape(2, 3, 2)},
        WEIGHTS | {"conv/kernel": WEIGHTS["conv/kernel"][::-1]},
        {"dense/bias" if name == "conv/bias" else name: values for name, values in WEIGHTS.items()},
        {"conv/kernel": WEIGHTS["conv/kernel"]},
        WEIGHTS | {"more": np.zeros(0, dtype=np.float32)},
    ],
)
def test_another_value_shape_or_name_is_another_model(other: dict[str, NDArray[np.float32]]) -> None:
    assert weights_sha256(other) != KNOWN
