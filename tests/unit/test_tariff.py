"""Tariffs: read by name, and what they make of a run's time, CPU seconds and bytes, to be worked out by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from compare import tariff
from compare.reports import grids
from compare.tariff import Spent, Tariff
from edgewise.errors import ConfigError
from tests.unit.test_report import EMPTY, FULL, TWO, printed

ROUND: Final[Mapping[str, Any]] = {
    "name": "round",
    "currency": "EUR",
    "gateway": {
        "price": 365.25 * 24 * 36,  # a hundredth of a coin for each second of its one year
        "lifetime_years": 1,
        "cores": 4,
        "idle_w": 2,
        "busy_w_per_core": 3,
    },
    "cluster": {"core_hour_price": 36, "idle_w_per_core": 1, "busy_w_per_core": 10},
    "uplink": {"price_per_gb": 2},
    "electricity": {"price_per_kwh": 3.6},  # a millionth of a coin for each joule
}
TARIFF: Final = Tariff.model_validate(ROUND)
SPENT: Final = Spent(wall_s=100, cpu_s=50, uplink_bytes=500_000_000)


def test_a_gateway_costs_its_share_of_life_its_uplink_and_its_electricity() -> None:
    found = tariff.gateway(TARIFF, SPENT)
    assert found.energy_j == pytest.approx(2 * 100 + 3 * 50)
    assert found.money == pytest.approx(1.0 + 1.0 + 350e-6)


def test_a_run_that_keeps_more_cores_busy_than_a_device_has_needs_more_devices() -> None:
    busy = Spent(wall_s=100, cpu_s=401, uplink_bytes=0)
    assert (tariff.devices_needed(TARIFF, SPENT), tariff.devices_needed(TARIFF, busy)) == (1, 2)
    found = tariff.gateway(TARIFF, busy)
    assert found.energy_j == pytest.approx(2 * 2 * 100 + 3 * 401)
    assert found.money == pytest.approx(2.0 + found.energy_j * 1e-6)


def test_a_cluster_costs_core_hours_and_uplink_and_no_electricity_of_its_own() -> None:
    found = tariff.cluster(TARIFF, SPENT)
    assert found.money == pytest.approx(0.5 + 1.0)
    assert found.energy_j == pytest.approx(11 * 50)


def test_a_summary_is_priced_for_1000_right_answers_of_each_tier() -> None:
    gateway = FULL.tiers["gateway"].model_copy(
        update={"results": 1000, "throughput_hz": 10.0, "correct": 500, "cpu_s": 50.0, "uplink_bytes": 500_000_000}
    )
    cluster = gateway.model_copy()
    found = tariff.priced(FULL.model_copy(update={"tiers": {"gateway": gateway, "cluster": cluster}}), TARIFF)
    assert found.tariff is not None
    assert (found.tariff.name, found.tariff.currency) == ("round", "EUR")
    each = {name: tier.per_1000_correct for name, tier in found.tiers.items()}
    assert (each["gateway"].money, each["gateway"].energy_j) == (4.0007, 700.0)
    assert (each["cluster"].money, each["cluster"].energy_j) == (3.0, 1100.0)
    assert each["gateway"].cpu_s == FULL.tiers["gateway"].per_1000_correct.cpu_s, "what was measured stays"
    assert gateway.per_1000_correct.money is None, "the summary that was given is not changed"


def test_without_a_tariff_nothing_is_modelled() -> None:
    assert tariff.priced(FULL, None) == FULL
    assert tariff.read("") is None
    assert "odelled" not in printed(FULL)


@pytest.mark.parametrize("missing", [{"cpu_s": None}, {"throughput_hz": None}, {"correct": 0}])
def test_what_was_not_measured_has_no_price(missing: Mapping[str, object]) -> None:
    gateway = FULL.tiers["gateway"].model_copy(update=missing)
    found = tariff.priced(FULL.model_copy(update={"tiers": {"gateway": gateway}}), TARIFF)
    each = found.tiers["gateway"].per_1000_correct
    assert (each.money, each.energy_j) == (None, None)
    assert tariff.priced(EMPTY, TARIFF).tiers["gateway"].per_1000_correct.money is None


def test_the_report_says_modelled_the_tariffs_name_and_the_units() -> None:
    line = next(one for one in printed(tariff.priced(TWO, TARIFF), width=200).splitlines() if "odelled" in one)
    assert line.startswith("Modelled by the tariff round, not measured, for 1,000 right answers: gateway ")
    assert line.count(" EUR, ") == len(TWO.tiers)
    assert line.count(" J") == len(TWO.tiers)


def test_the_page_says_modelled_in_the_heading_of_each_such_column() -> None:
    found = grids.costs(tariff.priced(TWO, TARIFF))
    assert list(found.head[-2:]) == [f"{unit} per 1,000 right, modelled by tariff round" for unit in ("EUR", "J")]
    assert {len(row) for row in found.rows} == {len(found.head)}
    assert "modelled" not in " ".join(grids.costs(TWO).head)


@pytest.mark.parametrize("name", tariff.shipped())
def test_each_shipped_tariff_can_be_read_and_says_that_it_is_an_example(name: str) -> None:
    found = tariff.read(name)
    assert found is not None
    assert found.name == name
    assert (tariff.SHIPPED / f"{name}.toml").read_text().startswith("# Example figures")


def test_every_price_says_its_unit_and_has_no_default() -> None:
    tables = (tariff.Gateway, tariff.Cluster, tariff.Uplink, tariff.Electricity)
    assert [name for one in tables for name, field in one.model_fields.items() if not field.is_required()] == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("price = 250.0", "prize = 250.0"), "gateway.price"),
        (("price = 250.0", "price = -1"), "gateway.price = -1: "),
        (("price = 250.0", 'price = "much"'), "gateway.price = 'much': "),
        (("lifetime_years = 3.0", "lifetime_years = 0"), "gateway.lifetime_years = 0: "),
        (("cores = 4.0", "cores = 4.0\nshop = 1"), "gateway.shop is not known; "),
        (("[uplink]", "[up_link]"), "uplink"),
        (('currency = "EUR"', 'currenzy = "EUR"'), "currency"),
    ],
)
def test_what_is_wrong_in_a_tariff_is_named(tmp_path: Path, change: tuple[str, str], text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((tariff.SHIPPED / "example.toml").read_text().replace(*change))
    with pytest.raises(ConfigError) as caught:
        tariff.read(str(path))
    assert str(caught.value).startswith(f"tariff {path}: {text}")


def test_a_tariff_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ConfigError) as caught:
        tariff.read("exmaple")
    assert str(caught.value) == "no tariff 'exmaple': neither a file nor one of example"


def test_a_tariff_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text("price: 3")
    with pytest.raises(ConfigError, match=r"odd\.toml is no TOML: "):
        tariff.read(str(tmp_path / "odd.toml"))
