"""Whether runs are of one model and one data set: otherwise nothing of them may be compared."""

from collections.abc import Iterator, Sequence

from compare.runs.ran import Ran
from compare.scenario import Scenario
from edgewise.messages import Tier
from edgewise.summary import Reason
from models import card
from models.card import Card
from models.engine import model_file


def different(scenario: Scenario, runs: Sequence[Ran]) -> Iterator[Reason]:
    """Say which models the tiers ran, and which images were sent, if these are more than one.

    One run is judged by itself: this is for runs that are set beside one another, of which each may be VALID.
    """
    cards = {one: card.known(model_file(one)).card for one in scenario.models}
    ran: dict[str, dict[str, None]] = {}
    for tier in Tier:
        for one in runs:
            found = one.summary.tiers.get(tier.value) if one.summary else None
            if found is None or found.model is None:
                continue
            stands_for = _stands_for(found.engine or "", found.model, card=cards.get(scenario.model_of(tier)))
            ran.setdefault(stands_for, {})[f"{tier} ran {found.model}"] = None
    if len(ran) > 1:
        yield Reason(
            rule="different models",
            found="; ".join(said for of_model in ran.values() for said in of_model),
            limit="one model",
            next="give both tiers the same model (model, gateway.model, cluster.model), and leave its file as it is",
        )
    sent = {tuple(sorted(f.sha256 for f in one.summary.images.values())) for one in runs if one.summary}
    if len(sent) > 1:
        yield Reason(
            rule="different data sets",
            found="; ".join(sorted(" and ".join(sha256[:12] for sha256 in one) or "none" for one in sent)),
            limit="one data set",
            next="leave fleet.images, or the data set, as it is until the last run has ended",
        )


def _stands_for(engine: str, model: str, *, card: Card | None) -> str:
    """Name the model that an engine's answers stand for: its own, or another format of it that passed the gate."""
    return card.identity if card is not None and card.same_as(engine, model) else model
