"""Which commands a run's parts are started with."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from compare import scenario as scenarios
from compare.runs.parts import Brokers, Parts
from compare.scenario import Placement, Scenario
from edgewise import topics
from edgewise.clock import ManualClock
from edgewise.errors import ConfigError
from edgewise.kafka import Client
from edgewise.messages import Tier


class Named(Parts):
    """Parts that are named and not started."""

    def _start(self, part: str, *arguments: str, cores: Sequence[int] = ()) -> Any:  # noqa: ANN401 - no child
        self.commands[part] = [*arguments, *map(str, cores)]


def models(scenario: Scenario, tiers: Sequence[Tier], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give the model that each part is told."""
    monkeypatch.setattr(topics, "ensure", lambda _: None)
    brokers = Brokers("localhost:1", "localhost:2", Client.AUTO)
    parts = Named(scenario, tiers, Path("folder"), brokers=brokers, clock=ManualClock())
    parts.start()
    told = {part: dict(itertools.pairwise(said)) for part, said in parts.commands.items()}
    return {part: said["--model"] for part, said in told.items() if "--model" in said}


def test_each_tier_may_have_a_model_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    both = scenarios.read("laptop", sets=["gateway.model=cifar_cnn"])
    assert models(both, list(Tier), monkeypatch) == {
        "ledger": "resnet20",
        "gateway": "cifar_cnn",
        "cluster": "resnet20",
    }
    # Alone, a tier's run is judged by its own model; that they differ is for the comparison to say.
    assert models(both, [Tier.GATEWAY], monkeypatch) == {"ledger": "cifar_cnn", "gateway": "cifar_cnn"}
    same = scenarios.read("laptop", sets=["gateway.model=cifar_cnn", "cluster.model=cifar_cnn"])
    assert set(models(same, list(Tier), monkeypatch).values()) == {"cifar_cnn"}


def test_a_model_that_is_not_there_is_said_before_anything_is_started(tmp_path: Path) -> None:
    from compare.run import run
    from compare.runs.rounds import Surroundings

    asked = scenarios.read("laptop", sets=["cluster.model=nobody"])
    with pytest.raises(ConfigError, match="nobody"):
        run(asked, Surroundings(runs=tmp_path / "runs"))
    assert not os.path.lexists(tmp_path / "runs")
    alone = Scenario(placement=Placement.GATEWAY, model="a", cluster=asked.cluster)
    assert alone.models == ["a"], "a tier that does not run needs none"
