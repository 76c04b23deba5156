"""Who leaves, when, and for how long stands before the run, and follows from the seed alone."""

from itertools import islice
from typing import Final

import pytest

from edgewise.clock import SECOND_NS
from producers.camera.churn import Churn

CAMERAS: Final = 500
HOUR_NS: Final = 3600 * SECOND_NS
GOLDEN: Final = [(9744289135, 19744289135), (54297081275, 64297081275)]


def away(churn: Churn, *, seed: int = 1, until_ns: int = HOUR_NS) -> list[list[tuple[int, int]]]:
    return [list(churn.away(seed=seed, index=index, cameras=CAMERAS, until_ns=until_ns)) for index in range(CAMERAS)]


def test_exactly_the_share_that_is_asked_for_comes_and_goes() -> None:
    found = away(Churn(share=0.2, stay_s=10, away_s=5))
    assert sum(bool(one) for one in found) == 100
    assert not any(away(Churn()))
    assert all(away(Churn(share=1, stay_s=10)))


def test_each_is_away_for_as_long_as_is_asked_and_there_that_long_on_the_average() -> None:
    found = away(Churn(share=1, stay_s=20, away_s=5))
    stays_s = []
    for one in found:
        assert {back_ns - leaves_ns for leaves_ns, back_ns in one} == {5 * SECOND_NS}
        comes_ns = [0, *(back_ns for _, back_ns in one)]
        stays_s += [(leaves_ns - came_ns) / SECOND_NS for came_ns, (leaves_ns, _) in zip(comes_ns, one, strict=False)]
    assert min(stays_s) >= 0
    assert sum(stays_s) / len(stays_s) == pytest.approx(20, rel=0.02)
    assert sum(stay_s > 20 for stay_s in stays_s) / len(stays_s) == pytest.approx(0.368, abs=0.01)


def test_a_seed_means_the_same_for_ever_and_a_longer_run_begins_as_the_shorter_one() -> None:
    churn = Churn(share=0.5, stay_s=30, away_s=10)
    found = away(churn)
    assert found == away(churn) != away(churn, seed=2)
    assert [one[:1] for one in away(churn, until_ns=60 * SECOND_NS)] == [
        [each for each in one[:1] if each[0] < 60 * SECOND_NS] for one in found
    ]
    assert list(churn.away(seed=1, index=0, cameras=2, until_ns=60 * SECOND_NS)) == GOLDEN


def test_a_life_of_coming_and_going_is_worked_out_as_it_goes() -> None:
    ages_ns = 10**9 * SECOND_NS
    hasty = Churn(share=1, stay_s=0.1, away_s=0.1)
    assert len(list(islice(hasty.away(seed=1, index=0, cameras=1, until_ns=ages_ns), 100))) == 100
