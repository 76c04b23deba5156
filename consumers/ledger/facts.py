"""What the rules look at: the run's account, and each tier's rows and counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from consumers.ledger.clocks import Impossible
from consumers.ledger.collect import Collected
from consumers.ledger.columns import Rows, each_once
from edgewise.messages import Tier
from edgewise.statistics import Mask
from edgewise.summary import FrameCounts, Limits, PartClock, TierSummary, WarmUp
from models.card import Card


@dataclass(frozen=True, slots=True)
class TierFacts:
    """One tier."""

    rows: Rows
    measured: Mask
    """Frames that latencies are of."""
    summary: TierSummary
    impossible: Impossible | None
    """None if every moment follows the one before it."""
    of_starved: Mask
    """Frames of the cameras that are starved."""
    latency_grew: bool
    """Whether answers came later and later."""
    said: int | None
    """Answers that the tier's processes account for, as far as they have closed their accounts."""

    @property
    def name(self) -> str:
        """Name the tier."""
        return self.rows.tier.value

    @property
    def only_starved_miss(self) -> bool:
        """Say whether all that is missing is missing to starved cameras."""
        return self.only_of_starved(self.rows.owed & ~self.rows.answered)

    def only_of_starved(self, some: Mask) -> bool:
        """Say whether there are such frames, and all are of starved cameras."""
        return bool(some.any()) and not bool((some & ~self.of_starved).any())


@dataclass(frozen=True, slots=True)
class Facts:
    """The whole run."""

    collected: Collected
    frames: FrameCounts
    tiers: Sequence[TierFacts]
    warm_up: WarmUp | None
    limits: Limits
    clocks: Mapping[str, PartClock]
    """Of the parts, beside the ledger's."""
    different: str | None
    """Models that differ, if they do."""

    @property
    def connections_lost(self) -> int:
        """Add up the connections to the MQTT broker that the cameras of all fleets lost, as far as these say."""
        said = (
            one.summary.get("connections_lost") for (part, _), one in self.collected.closings.items() if part == "fleet"
        )
        return sum(lost for lost in said if isinstance(lost, int))

    @property
    def cut_off(self) -> tuple[int, int]:
        """Count the cameras that lost their connection, and those that would have if the MQTT broker had gone.

        Of cameras that come and go nobody knows which were there: those that stay must all have lost theirs.
        """
        lost = staying = 0
        for plan in self.collected.plans.values():
            closing = self.collected.closings.get(("fleet", plan.fleet))
            said = {} if closing is None else closing.summary
            # A fleet of an older version counted connections alone.
            cameras = said.get("cameras_cut_off", said.get("connections_lost"))
            lost += cameras if isinstance(cameras, int) else 0
            churn = said.get("churn")
            share = churn.get("share") if isinstance(churn, dict) else 0.0
            staying += plan.cameras - (round(share * plan.cameras) if isinstance(share, int | float) else 0)
        return lost, staying or sum(plan.cameras for plan in self.collected.plans.values())

    def in_each(self, *rules: str) -> set[str]:
        """Name these rules as they would be broken in each tier."""
        return {f"{rule} in {tier.name}" for rule in rules for tier in self.tiers}

    @property
    def each_once(self) -> Sequence[TierFacts]:
        """Give tiers whose rows have each frame once."""
        return each_once(self.tiers, split=self.collected.split_seed is not None)


def different_models(tiers: Sequence[Rows], *, card: Card | None) -> str | None:
    """Say which models differ; None if the tiers ran the same, as far as is known.

    With a model's card, each engine must have passed the gate for it. Without, their identities are compared.
    """
    ran = [(found.tier.value, *pair) for found in tiers for pair in ran_with(found)]
    if card is not None:
        wrong = [one for one in ran if not card.same_as(one[1], one[2])]
        return "; ".join(f"{tier} ran {model} with {engine}, not passed" for tier, engine, model in wrong) or None
    models = sorted({model for _, _, model in ran})
    return " and ".join(models) if len(models) > 1 else None


def ran_with(found: Rows) -> list[tuple[str, str]]:
    """Give each engine and model that a tier's results name."""
    engines, engine_names = found.codes("engine")
    models, model_names = found.codes("model")
    pairs = np.unique(engines[found.answered].astype(np.int64) * len(model_names) + models[found.answered])
    places = (divmod(int(pair), len(model_names)) for pair in pairs)
    return [(engine_names[engine], model_names[model]) for engine, model in places]


def said_by(collected: Collected, tier: Tier) -> int | None:
    """Add up the answers that a tier's processes account for; None if none has closed, or one does not say."""
    # A gateway counts its results; the cluster all of its frames, those that it refused or left among them.
    count, refused = ("results", 0) if tier is Tier.GATEWAY else ("frames", collected.rejected(tier).total())
    mine = [one.summary for (part, _), one in collected.closings.items() if part == tier]
    counts = [summary.get(count) for summary in mine]
    if tier is Tier.CLUSTER and collected.split_seed is not None:
        counts += [-left if isinstance(left := summary.get("left_to_others"), int) else None for summary in mine]
    if not counts or not all(isinstance(said, int) for said in counts):
        return None
    return sum(said for said in counts if isinstance(said, int)) - refused
