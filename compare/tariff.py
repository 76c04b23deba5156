"""What a run would cost by declared prices: money and energy for 1,000 right answers, both modelled.

Nothing here is measured but what the run spent: time, CPU seconds, bytes. The prices and the
watts are its user's, from a TOML file or a shipped one by name. Brokers and bridge are in
neither tier: both need them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgewise import declared
from edgewise.errors import ConfigError
from edgewise.messages import Tier
from edgewise.summary import Declared, Summary, TierSummary

SHIPPED: Final = Path(__file__).parent / "tariffs"
YEAR_S: Final = 365.25 * 24 * 3600
HOUR_S: Final = 3600.0
GB_BYTES: Final = 1e9
KWH_J: Final = 3.6e6
DIGITS: Final = 6
"""That a modelled figure keeps: it is as good as its prices, and small."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Gateway(_Table):
    """A device at the edge, bought."""

    price: float = Field(ge=0)
    """Of one."""
    lifetime_years: float = Field(gt=0)
    """Over which it is written off, working or not."""
    cores: float = Field(gt=0)
    """Of one: a run that keeps more busy is charged for more devices."""
    idle_w: float = Field(ge=0)
    """Of one, doing nothing."""
    busy_w_per_core: float = Field(ge=0)
    """More for each core at work."""


class Cluster(_Table):
    """Cores by the hour."""

    core_hour_price: float = Field(ge=0)
    """Of one core at work for an hour, its electricity included."""
    idle_w_per_core: float = Field(ge=0)
    """Its share of what the machine draws, doing nothing."""
    busy_w_per_core: float = Field(ge=0)
    """More for each core at work."""


class Uplink(_Table):
    """The way from the cameras to the cluster."""

    price_per_gb: float = Field(ge=0)
    """Of 1e9 bytes."""


class Electricity(_Table):
    """At the gateway."""

    price_per_kwh: float = Field(ge=0)
    """Of 3.6 million joules."""


class Tariff(_Table):
    """All prices and watts that a run is charged by; none has a default."""

    name: str = Field(default="", max_length=40)
    """As reports call it; the file's name if it does not say."""
    currency: str = Field(min_length=1, max_length=8)
    """Of every price."""
    gateway: Gateway
    """The device at the edge."""
    cluster: Cluster
    """Cores by the hour."""
    uplink: Uplink
    """From the cameras to the cluster."""
    electricity: Electricity
    """At the gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one tier spent in a run, as it was measured."""

    wall_s: float
    """From the first frame due to the last result."""
    cpu_s: float
    uplink_bytes: int


@dataclass(frozen=True, slots=True)
class Modelled:
    """What that comes to by a tariff."""

    money: float
    energy_j: float


def shipped() -> Sequence[str]:
    """Name the tariffs that come with the kit."""
    return declared.shipped(SHIPPED)


def read(named: str) -> Tariff | None:
    """Read a tariff: a shipped one by name, or a TOML file; None if none is declared.

    Raises:
        ConfigError: no such tariff, or something in it that is missing, not known or not allowed, by its name.
    """
    if not named:
        return None
    name, values = declared.read(named, folder=SHIPPED, what="tariff")
    values.setdefault("name", name[:40])
    try:
        return Tariff.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"tariff {named}: {declared.explained(error, Tariff)}") from error


def gateway(tariff: Tariff, spent: Spent) -> Modelled:
    """Charge devices for the run's time, awake all along, and their work, results and electricity."""
    device = tariff.gateway
    devices = devices_needed(tariff, spent)
    energy_j = devices * device.idle_w * spent.wall_s + device.busy_w_per_core * spent.cpu_s
    owned = devices * device.price * spent.wall_s / (device.lifetime_years * YEAR_S)
    return Modelled(owned + uplink_money(tariff, spent) + energy_j / KWH_J * tariff.electricity.price_per_kwh, energy_j)


def devices_needed(tariff: Tariff, spent: Spent) -> int:
    """Count the devices whose cores would do the run's work in the run's time."""
    busy_cores = spent.cpu_s / spent.wall_s
    return max(1, math.ceil(busy_cores / tariff.gateway.cores))


def cluster(tariff: Tariff, spent: Spent) -> Modelled:
    """Charge cores while they work, with their share of the idle machine; electricity is in their price."""
    cores = tariff.cluster
    energy_j = (cores.idle_w_per_core + cores.busy_w_per_core) * spent.cpu_s
    return Modelled(spent.cpu_s / HOUR_S * cores.core_hour_price + uplink_money(tariff, spent), energy_j)


def uplink_money(tariff: Tariff, spent: Spent) -> float:
    """Charge what a tier's placement sends up."""
    return spent.uplink_bytes / GB_BYTES * tariff.uplink.price_per_gb


def spent_by(tier: TierSummary) -> Spent | None:
    """Give what a tier spent; None if it was not measured, or there is no answer that it was spent on."""
    if tier.cpu_s is None or not tier.throughput_hz or not tier.correct:
        return None
    return Spent(wall_s=tier.results / tier.throughput_hz, cpu_s=tier.cpu_s, uplink_bytes=tier.uplink_bytes)


def priced(summary: Summary, tariff: Tariff | None) -> Summary:
    """Add to each tier what 1,000 right answers cost by a tariff; nothing if none is declared."""
    if tariff is None:
        return summary
    charged = summary.model_copy(deep=True)
    charged.tariff = Declared(name=tariff.name, currency=tariff.currency)
    for name, tier in charged.tiers.items():
        spent = spent_by(tier)
        if spent is None:
            continue
        whole = {Tier.GATEWAY: gateway, Tier.CLUSTER: cluster}[Tier(name)](tariff, spent)
        money, energy_j = (_kept(amount / tier.correct * 1000) for amount in (whole.money, whole.energy_j))
        tier.per_1000_correct = tier.per_1000_correct.model_copy(update={"money": money, "energy_j": energy_j})
    return charged


def _kept(amount: float) -> float:
    """Round to the digits that count: a price of 1,000 answers may be a ten-thousandth."""
    return float(f"{amount:.{DIGITS}g}")
