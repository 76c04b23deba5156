"""What is asked of the cameras beside what they can send: of each fleet its own ceiling, and of a pattern its peak."""

from pathlib import Path

import pytest

from compare import scenario
from compare.runs import ceiling
from compare.runs.ceiling import Ceilings
from compare.scenario import Fleet
from edgewise.errors import ConfigError
from edgewise.messages import Codec
from producers.fleet.schedule import asked


def test_more_than_the_cameras_can_is_refused() -> None:
    found = ceiling.asked(Fleet(cameras=10, rate_hz=70), ceiling_hz=1000)
    assert (found.offered_hz, found.peak_hz, found.ceiling_hz, found.limit_share) == (700, None, 1000, 0.7)
    ceiling.refuse(found)
    with pytest.raises(ConfigError, match=r"^701 frames/s are more than 70 % of the 1,000 that the cameras can send"):
        ceiling.refuse(ceiling.asked(Fleet(cameras=10, rate_hz=70.1), ceiling_hz=1000))


def test_bursts_are_refused_by_their_peak() -> None:
    burst = scenario.read("burst").fleet
    found = ceiling.asked(burst, ceiling_hz=1000)
    assert (found.offered_hz, found.peak_hz) == (100, 500)
    ceiling.refuse(found)
    said = r"^500 frames/s at the peak of 100 are more than 70 % of the 700 "
    with pytest.raises(ConfigError, match=said):
        ceiling.refuse(ceiling.asked(burst, ceiling_hz=700))
    assert ceiling.most_hz(ceiling.asked(burst, ceiling_hz=1000)) == 140


@pytest.mark.parametrize(
    ("arrival", "duration_s", "peak_hz"),
    [
        ("periodic", 60, 100),
        ("poisson", 60, 100),
        ("burst:on_s=2,off_s=2", 60, 200),
        ("diurnal:period_s=60,depth=0.8", 60, 180),
        ("diurnal:period_s=86400,depth=0.8", 60, 100),
    ],
)
def test_the_peak_of_a_pattern(arrival: str, duration_s: float, peak_hz: float) -> None:
    found = asked(arrival, cameras=10, rate_hz=10.0, duration_s=duration_s)
    assert found.peak_hz == pytest.approx(peak_hz, rel=0.01)


def test_the_peak_of_a_trace_is_its_busiest_second(tmp_path: Path) -> None:
    moments = [*(f"{0.1 * number:.1f}" for number in range(10)), "5.0", "9.0"]
    (tmp_path / "trace").write_text("camera,time_s\n" + "".join(f"gate,{moment}\n" for moment in moments))
    assert asked(f"trace:{tmp_path / 'trace'}").peak_hz == 10


def test_a_ceiling_is_measured_once_for_each_fleet_that_sends_otherwise() -> None:
    measured: list[Fleet] = []

    def measure(fleet: Fleet) -> float:
        measured.append(fleet)
        return 1000.0 * fleet.cameras

    ceilings = Ceilings(measure)
    small = Fleet(cameras=4, rate_hz=10)
    other_load = Fleet(cameras=4, rate_hz=30.0, arrival="poisson", duration_s=9, seed=5)
    assert [ceilings.of(one).ceiling_hz for one in (small, other_load)] == [4000, 4000]
    assert len(measured) == 1, "neither rate nor pattern changes what they can send"
    others = [
        *(Fleet(cameras=8), Fleet(cameras=4, codec=Codec.PNG), Fleet(cameras=4, connections=2)),
        Fleet(cameras=4, order="shuffled"),
    ]
    for one in others:
        ceilings.of(one)
    assert measured == [small, *others]
    assert ceilings.of(Fleet(cameras=8, rate_hz=3)).ceiling_hz == 8000
