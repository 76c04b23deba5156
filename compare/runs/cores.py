"""Which cores the parts of a run get: a tier its own, and whatever has none those that the tiers leave."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from compare.scenario import Scenario
from edgewise.errors import ConfigError
from edgewise.messages import Tier


def own(scenario: Scenario) -> dict[Tier, tuple[int, ...]]:
    """Give the cores of each tier that has some of its own."""
    named = {Tier.GATEWAY: scenario.gateway.cores, Tier.CLUSTER: scenario.cluster.cores}
    return {tier: cores for tier, cores in named.items() if cores}


def left(scenario: Scenario, allowed: Collection[int]) -> set[int]:
    """Give the cores of everything else: a tier without its own, brokers, cameras, bridge and ledger."""
    taken = {core for cores in own(scenario).values() for core in cores}
    return set(allowed) - taken or set(allowed)


def co_located(scenario: Scenario, tiers: Collection[Tier]) -> bool | None:
    """Say whether both tiers run on the same cores; None of one alone."""
    mine = own(scenario)
    if len(tiers) < len(Tier):
        return None
    return len(mine) < len(Tier) or bool(set(mine[Tier.GATEWAY]) & set(mine[Tier.CLUSTER]))


def refuse(scenario: Scenario, allowed: Collection[int]) -> None:
    """Raise ConfigError for cores that this process may not use."""
    for tier, cores in own(scenario).items():
        if missing := sorted(set(cores) - set(allowed)):
            raise ConfigError(f"{tier}.cores: there is no core {missing[0]} here; allowed are {sorted(allowed)}")


def said(scenario: Scenario, allowed: Collection[int]) -> str | None:
    """Say who gets which; None if nobody has any of its own."""
    mine = own(scenario)
    if not mine:
        return None
    ran = {tier for tiers in scenario.placement.rounds for tier in tiers}
    others = [f"the {tier}" for tier in Tier if tier in ran and tier not in mine]
    kept = left(scenario, allowed)
    shared = ", which the tiers have too" if kept == set(allowed) else ""
    parts = [f"the {tier} {_listed(cores)}" for tier, cores in mine.items()]
    parts.append(f"{', '.join([*others, 'brokers, cameras, bridge and ledger'])} {_listed(kept)}{shared}")
    return f"cores: {'; '.join(parts)}"


def _listed(cores: Collection[int]) -> str:
    return ", ".join(map(str, sorted(cores)))


@contextmanager
def shared_out(scenario: Scenario) -> Iterator[None]:
    """Keep this process, and what it starts without cores of its own, off the tiers' while the block lasts."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, left(scenario, allowed))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
