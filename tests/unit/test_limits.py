"""Limits as they are typed, and what is said of those that are none."""

import ast
import inspect

import pytest

from consumers.ledger import limits
from consumers.ledger.pace import LATE
from consumers.ledger.rules import ACCOUNT, CLOCK, COUNTED_TWICE, MODELS, PLAN, STARVED, WARM_UP
from edgewise.errors import ConfigError
from edgewise.places import CHECKOUT
from edgewise.summary import Limits


def test_limits_that_nobody_names_keep_their_defaults() -> None:
    assert limits.typed(["late_ms=50", "stable=true"]) == Limits(late_ms=50, stable=True)
    assert limits.typed([]) == Limits()


def test_limits_are_typed_as_they_are_read() -> None:
    some = Limits(late_ms=50, stable=True, samples=459)
    assert limits.as_typed(some) == ["late_ms=50.0", "samples=459", "stable=True"]
    assert limits.typed(limits.as_typed(some)) == some


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("late_ms", "--limit 'late_ms' is not NAME=VALUE, for example late_ms=50"),
        ("late_mss=1", "--limit late_mss is not known; did you mean late_ms?"),
        ("late_ms=soon", "--limit late_ms=soon: Input should be a valid number, unable to parse string as a number"),
        ("late_ms=inf", "--limit late_ms=inf: Input should be a finite number"),
        ("samples=-1", "--limit samples=-1: Input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_limit_is_refused_by_its_name(said: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        limits.typed([said])
    assert str(caught.value) == told


def test_every_limit_is_explained_under_it() -> None:
    body = ast.parse(inspect.getsource(Limits)).body[0]
    assert isinstance(body, ast.ClassDef)
    fields = [place for place, one in enumerate(body.body) if isinstance(one, ast.AnnAssign)]
    assert len(fields) == len(Limits.model_fields)
    for place in fields:
        assert isinstance(body.body[place + 1], ast.Expr), ast.unparse(body.body[place])


def test_every_limit_and_rule_stands_on_the_page_about_reports() -> None:
    page = (CHECKOUT / "docs" / "report.md").read_text()
    assert [name for name in Limits.model_fields if f"`{name}`" not in page] == []
    rules = (PLAN, ACCOUNT, COUNTED_TWICE, MODELS, CLOCK, STARVED, LATE, WARM_UP)
    others = ("growing backlog", "dropped at source", "results lost after", "duplicated results", "too few samples")
    assert [rule for rule in (*rules, *others) if rule not in page] == []
