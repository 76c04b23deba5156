"""Every setting is explained where it stands, says its unit, and is checked when it is built."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from pydantic import BaseModel, ValidationError

from brokers.bridge.run import BridgeSettings
from compare import scenario
from compare.scenario import Scenario
from consumers.cluster.run import ClusterSettings
from consumers.gateway.run import GatewaySettings
from consumers.ledger.run import LedgerSettings
from edgewise.account import Plan
from edgewise.places import CHECKOUT
from producers.fleet.groups import Declared
from producers.fleet.settings import FleetSettings, Group

SETTINGS: Final[list[type[BaseModel]]] = [
    BridgeSettings,
    GatewaySettings,
    ClusterSettings,
    FleetSettings,
    Group,
    Declared,
    LedgerSettings,
    Scenario,
    scenario.Fleet,
    scenario.Gateway,
    scenario.Cluster,
]
PARTS: Final = ("edgewise", "models", "producers", "brokers", "consumers", "compare")
UNITS: Final = ("_ns", "_us", "_s", "_ms", "_hz", "_bytes", "_mb", "_share", "_j", "_w", "_w_per_core", "_years")
COUNTS: Final = {
    *("attempts", "batch", "bridged", "bridged_copies", "cameras", "classes", "confirmed", "copies", "correct"),
    *(
        "dropped_at_source",
        "duplicates",
        "frames",
        "images",
        "missing",
        "never_bridged",
        "parameters",
        "partitions",
        "refused",
    ),
    *("rejected", "reordered", "results", "scheduled", "sent", "tasks", "threads", "unheard", "window", "batch_max"),
    *("classified", "cores_busy", "below_floor"),
    *("connected", "late", "dropped", "processes", "probes"),
    *("differ", "beyond_ties", "allowed", "repeats", "rounds", "passes", "batches"),
    *("samples", "measured", "starved_cameras", "said", "from_cameras", "not_with_cameras"),
    *("late_readings", "receipt", "receipts", "predict_max", "cores", "executor_cores"),
    *("both_right", "only_gateway_right", "only_cluster_right", "both_wrong"),
}
"""Numbers of things: the name is the unit."""
PLACES: Final = {
    "number",
    "image",
    "partition",
    "offset",
    "port",
    "pid",
    "seed",
    "split_seed",
    "index",
    "committed",
    "end",
}
"""Numbers that are names."""
WITHOUT_UNIT: Final = {
    *("accuracy", "agreement", "score", "label", "retries", "width", "height", "schema_version", "batch_mean"),
    *("p50", "p90", "p99", "p999", "min", "max", "found", "limit"),  # of a model whose own field has the unit
    *("sigma", "depth"),  # of an arrival pattern
    *("slowest", "apart", "rate_hz_per_core", "median", "most_times", "accuracy_points"),
    *("a", "b", "difference"),  # of a figure that has its unit beside it
    *("low", "high"),  # of an interval, in the unit of what it is of
    *("share", "on_time", "accuracy_difference", "mcnemar_p", "starved_times", "stable_within"),
    *("slope", "lower", "upper"),  # of a trend
    *("money", "price", "core_hour_price", "price_per_gb", "price_per_kwh"),  # in the currency of a tariff
    *("epochs", "peak_rate", "momentum", "weight_decay", "label_smoothing", "warm_up"),  # of training
}
"""Shares, classes, pixels and the like."""


def fields(source: str) -> Iterator[tuple[str, str, ast.expr, bool]]:
    """Give class, name, annotation of every annotated class field, and whether a docstring stands under it."""
    for found in ast.walk(ast.parse(source)):
        if not isinstance(found, ast.ClassDef):
            continue
        for place, statement in enumerate(found.body):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                following = found.body[place + 1] if place + 1 < len(found.body) else None
                explained = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                yield found.name, statement.target.id, statement.annotation, explained


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting_is_explained_under_it(settings: type[BaseModel]) -> None:
    own = [one for one in settings.__mro__ if one.__module__.partition(".")[0] in PARTS]
    explained = {name: there for one in own for _, name, _, there in fields(inspect.getsource(one))}
    assert set(explained) == set(settings.model_fields)
    assert [name for name, there in explained.items() if not there] == []


def test_a_setting_without_an_explanation_would_be_found() -> None:
    source = 'class Settings:\n    one_s: float\n    """One."""\n    two_s: float\n'
    assert [(name, there) for _, name, _, there in fields(source)] == [("one_s", True), ("two_s", False)]


def is_number(annotation: ast.expr) -> bool:
    """Say whether an annotation is int or float, or one of them or None."""
    match annotation:
        case ast.BinOp(left=left, right=right):
            return is_number(left) or is_number(right)
        case ast.Name(id=name):
            return name in {"int", "float"}
        case _:
            return False


def modules() -> Iterator[Path]:
    for part in PARTS:
        yield from sorted((CHECKOUT / part).rglob("*.py"))


def test_numbers_say_their_unit_in_their_name() -> None:
    unclear = [
        f"{path.relative_to(CHECKOUT)}: {owner}.{name}"
        for path in modules()
        for owner, name, annotation, _ in fields(path.read_text())
        if is_number(annotation) and not name.endswith(UNITS) and name.lstrip("_") not in COUNTS | PLACES | WITHOUT_UNIT
    ]
    assert unclear == []


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_are_frozen_and_refuse_what_they_do_not_know(settings: type[BaseModel]) -> None:
    assert settings.model_config.get("frozen")
    assert settings.model_config.get("extra") == "forbid"


ADDRESSES: Final = {"mqtt": "localhost:1883", "kafka": "localhost:9092"}
GOOD: Final[dict[type[BaseModel], dict[str, Any]]] = {
    BridgeSettings: ADDRESSES,
    GatewaySettings: ADDRESSES,
    ClusterSettings: {"kafka": "localhost:9092"},
    FleetSettings: ADDRESSES | {"run": "one"},
    LedgerSettings: {"kafka": "localhost:9092", "run": "one", "out": "runs"},
    **{
        key: {}
        for key in (Group, Declared, Scenario, scenario.Fleet, scenario.Gateway, scenario.Cluster, scenario.Search)
    },
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_what_has_a_default_need_not_be_said(settings: type[BaseModel]) -> None:
    built = settings(**GOOD[settings])
    assert type(built).model_validate_json(built.model_dump_json()) == built


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (BridgeSettings, {"window": 0}),
        (BridgeSettings, {"window": 65_536}),
        (BridgeSettings, {"partitions": 0}),
        (GatewaySettings, {"source": "amqp"}),
        (GatewaySettings, {"threads": -1}),
        (GatewaySettings, {"batch_max": 0}),
        (GatewaySettings, {"batch_wait_ms": -1}),
        (GatewaySettings, {"split_seed": -1}),
        (ClusterSettings, {"engine": "torch"}),
        (ClusterSettings, {"fallback": "bigdl"}),
        (ClusterSettings, {"start": "sometime"}),
        (ClusterSettings, {"threads": 0}),
        (ClusterSettings, {"tasks": -1}),
        (ClusterSettings, {"trigger_ms": -1}),
        (ClusterSettings, {"batch_max": 0}),
        (ClusterSettings, {"predict_max": 0}),
        (ClusterSettings, {"partitions": 0}),
        (ClusterSettings, {"cores": -1}),
        (ClusterSettings, {"executor_cores": -1}),
        (FleetSettings, {"run": "with blanks"}),
        (FleetSettings, {"run": ""}),
        (Group, {"name": "Yard"}),
        (Group, {"cameras": 0}),
        (FleetSettings, {"processes": 0}),
        (FleetSettings, {"processes": 2}),
        (FleetSettings, {"groups": ()}),
        (FleetSettings, {"groups": ({"name": "gate"}, {"name": "gate"})}),
        (FleetSettings, {"ramp_hz": 0}),
        (Group, {"rate_hz": 0}),
        (Group, {"frames": 0}),
        (Group, {"arrival": "weekly"}),
        (Group, {"seed": -1}),
        (Group, {"order": "sorted"}),
        (Group, {"codec": "gif"}),
        (Group, {"drop_after_s": 0}),
        (FleetSettings, {"wait_s": 0}),
        (FleetSettings, {"wait_for": ("bridge", "broker")}),
        (LedgerSettings, {"tiers": ("cloud",)}),
        (LedgerSettings, {"tiers": ()}),
        (LedgerSettings, {"tiers": ("gateway", "cluster", "gateway")}),
        (LedgerSettings, {"settle_s": 0}),
        (LedgerSettings, {"deadline_ms": 0}),
        (LedgerSettings, {"limits": {"late": 1}}),
        (Scenario, {"name": "With Blanks"}),
        (Scenario, {"placement": "cloud"}),
        (Scenario, {"repeats": 0}),
        (Scenario, {"deadline_ms": 0}),
        (scenario.Fleet, {"cameras": 0}),
        (scenario.Fleet, {"rate_hz": 0}),
        (scenario.Fleet, {"duration_s": 0}),
        (scenario.Fleet, {"codec": "gif"}),
        (scenario.Fleet, {"order": "sorted"}),
        (scenario.Fleet, {"seed": -1}),
        (scenario.Gateway, {"engine": "torch"}),
        (scenario.Gateway, {"threads": -1}),
        (scenario.Cluster, {"engine": "none"}),
        (scenario.Cluster, {"trigger_ms": -1}),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(settings: type[BaseModel], wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**{**GOOD[settings], **wrong})
    assert caught.value.errors()[0]["loc"][0] == next(iter(wrong))


def test_the_orders_of_the_images_are_the_same_everywhere() -> None:
    allowed = [get_args(one.model_fields["order"].annotation) for one in (scenario.Fleet, Group, Declared, Plan)]
    assert allowed == [("stored", "shuffled")] * 4
