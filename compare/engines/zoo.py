"""The models that come with the kit, and what their checks say, for people and programs."""

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from compare.engines.equivalence import Outcome
from edgewise.show import NOT_MEASURED, count, grid, table, text, titled
from models import card, engine
from models.card import Card


def cards() -> Iterator[tuple[str, int, Card]]:
    """Give each shipped model's name, the size of its file in bytes, and its card."""
    for path in sorted(engine.SHIPPED.glob("*.keras")):
        yield path.stem, path.stat().st_size, card.read(path)


def show_all(*, as_json: bool) -> None:
    """Print them."""
    found = list(cards())
    if as_json:
        text(json.dumps([_facts(name, size, one) for name, size, one in found]))
        return
    listed = grid("model", "identity", numbers=("parameters", "kB", "accuracy %", "epochs"))
    listed.add_column("same answers with")
    for name, size, one in found:
        passed = ", ".join(sorted(check.engine for check in one.checks.values() if check.passed))
        accuracy = f"{one.accuracy:.2%}".rstrip("%")
        sizes = (count(one.parameters), f"{size / 1e3:,.0f}", accuracy, count(len(one.epochs)))
        listed.add_row(name, one.identity, *sizes, passed or "not checked")
    note = f"Accuracy of Keras on {count(found[0][2].images if found else None)} test images."
    table(Group(*titled("Shipped models", listed, note)))


def _facts(name: str, size: int, one: Card) -> dict[str, Any]:
    return {
        "model": name,
        "identity": one.identity,
        "size_bytes": size,
        "parameters": one.parameters,
        "accuracy": one.accuracy,
        "checks": {check.engine: check.passed for check in one.checks.values()},
    }


def show_check(outcome: Outcome, *, as_json: bool) -> None:
    """Print what a check of several engines came to."""
    if as_json:
        checks = [one.model_dump() for one in outcome.checks]
        text(json.dumps({"passed": outcome.passed, "checks": checks, "not_checked": outcome.not_checked}))
        return
    table(rendered(outcome))


def rendered(outcome: Outcome) -> RenderableType:
    """Lay it out: one line an engine, and why one could not be checked."""
    numbers = ("labels differ", "beyond ties", "allowed", "apart", "accuracy %")
    listed = grid("engine", numbers=numbers)
    listed.add_column("passed")
    for one in outcome.checks:
        figures = (count(one.differ), count(one.beyond_ties), count(one.allowed), f"{one.apart:.1e}")
        accuracy = f"{one.correct / one.images * 100:.2f}"
        listed.add_row(one.engine, *figures, accuracy, "yes" if one.passed else Text("NO", style="bold red"))
    for name in outcome.not_checked:
        listed.add_row(name, *[NOT_MEASURED] * len(numbers), NOT_MEASURED)
    images = count(outcome.checks[0].images) if outcome.checks else NOT_MEASURED
    notes = [f"{name}: {why}" for name, why in outcome.not_checked.items()]
    ties = "A tie: the two best classes' probabilities are less than 1e-4 apart. Apart: largest difference of a score."
    return Group(*titled(f"Beside the model's own library, on {images} test images", listed, ties, *notes))
