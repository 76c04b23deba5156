"""Every setting is explained where it stands, says its unit, and is checked when it is built."""

import ast
import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from pydantic import BaseModel, ValidationError

from brokers.bridge.run import BridgeSettings
from compare import scenario
from compare.scenario import Scenario
from consumers.cluster.settings import ClusterSettings
from consumers.gateway.settings import GatewaySettings
from consumers.ledger.run import LedgerSettings
from edgewise.account import Plan
from edgewise.mqtt.link import Link
from edgewise.places import CHECKOUT
from producers.camera.churn import Churn
from producers.fleet.groups import Declared
from producers.fleet.settings import FleetSettings, Group

SETTINGS: Final[list[type[BaseModel]]] = [
    BridgeSettings,
    GatewaySettings,
    ClusterSettings,
    FleetSettings,
    Group,
    Declared,
    Link,
    Churn,
    LedgerSettings,
    Scenario,
    scenario.Fleet,
    scenario.Gateway,
    scenario.Cluster,
]
PARTS: Final = ("edgewise", "models", "producers", "brokers", "consumers", "compare")
UNITS: Final = (
    "_ns",
    "_us",
    "_s",
    "_ms",
    "_hz",
    "_bytes",
    "_mb",
    "_share",
    "_j",
    "_w",
    "_w_per_core",
    "_years",
    "_percent",
)
COUNTS: Final = {
    *("attempts", "batch", "bridged", "bridged_copies", "cameras", "classes", "confirmed", "copies", "correct"),
    *(
        "dropped_at_source",
        "duplicates",
        "frames",
        "messages",
        "images",
        "missing",
        "never_bridged",
        "parameters",
        "partitions",
        "refused",
    ),
    *("rejected", "reordered", "results", "scheduled", "sent", "tasks", "threads", "unheard", "window", "batch_max"),
    *("classified", "cores_busy", "below_floor", "judged", "lag", "right", "same", "waiting"),
    *("due", "overdue", "given_up", "connections_lost", "cameras_cut_off", "hindered"),
    *("connected", "late", "dropped", "processes", "probes", "connections"),
    *("differ", "beyond_ties", "allowed", "repeats", "rounds", "passes", "batches"),
    *("skipped", "trace_every", "owed", "settled"),
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
    "fd",
    "interest",
    "seed",
    "split_seed",
    "index",
    "committed",
    "end",
    "first",
    "newest",
}
"""Numbers that are names."""
WITHOUT_UNIT: Final = {
    *("accuracy", "agreement", "score", "label", "truth", "retries", "width", "height", "schema_version", "batch_mean"),
    *("p50", "p90", "p99", "p999", "min", "max", "found", "limit"),  # of a model whose own field has the unit
    *("per_unit", "value"),  # of a metric, whose name has the unit
    "level",  # of what is said
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
        for key in (
            Group,
            Declared,
            Link,
            Churn,
            Scenario,
            scenario.Fleet,
            scenario.Gateway,
            scenario.Cluster,
            scenario.Search,
        )
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
        (FleetSettings, {"connections": 0}),
        (FleetSettings, {"connections": 2}),
        (FleetSettings, {"connections": 1, "groups": ({"cameras": 4},), "processes": 2}),
        (FleetSettings, {"connections": 1, "groups": ({"link": "delay_ms=1"},)}),
        (FleetSettings, {"connections": 1, "groups": ({"churn": {"share": 1}},)}),
        (Group, {"clock_ahead_s": 1e10}),
        (Group, {"link": "delay_ms"}),
        (Group, {"link": "delay_ms=1,delay_ms=2"}),
        (Group, {"link": "rate_hz=4"}),
        (Group, {"churn": "share=1.5"}),
        (Link, {"delay_ms": -1}),
        (Link, {"jitter_ms": -1}),
        (Link, {"delay_ms": 10_001}),
        (Link, {"jitter_ms": 2_001}),
        (Link, {"loss_share": 0.6}),
        (Link, {"rate_kbit_s": -1}),
        (Link, {"rate_kbit_s": 1e-300}),
        (Churn, {"stay_s": 0}),
        (Churn, {"away_s": 0}),
        (Churn, {"stay_s": 1e-12}),
        (Churn, {"away_s": 1e-12}),
        *((Churn, {name: value}) for name in ("share", "stay_s", "away_s") for value in (math.inf, math.nan)),
        *((Link, {name: value}) for name in Link.model_fields for value in (math.inf, math.nan)),
        *((FleetSettings, {name: value}) for name in ("ramp_hz", "wait_s") for value in (math.inf, math.nan)),
        *(
            (settings, {name: value})
            for settings in (Group, Declared)
            for name in ("rate_hz", "drop_after_s", "clock_ahead_s")
            for value in (math.inf, -math.inf, math.nan)
        ),
        (Declared, {"duration_s": math.inf}),
        (Group, {"cameras": 100_001}),
        (Group, {"frames": 10_000_001}),
        (Group, {"drop_after_s": 1e300}),
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


def test_what_no_ledger_could_keep_is_refused_before_anything_connects() -> None:
    with pytest.raises(ValidationError) as caught:
        Group(cameras=10_000, frames=1001)
    assert caught.value.errors()[0]["msg"].removeprefix("Value error, ") == (
        "frames: 10,000 cameras with 1,001 frames each are more than 10,000,000 together"
    )
    with pytest.raises(ValidationError, match=r"frames: at 0\.001 frames a second that takes more than"):
        Group(rate_hz=0.001, frames=5_000_000)


def test_the_orders_of_the_images_are_the_same_everywhere() -> None:
    allowed = [get_args(one.model_fields["order"].annotation) for one in (scenario.Fleet, Group, Declared, Plan)]
    assert allowed == [("stored", "shuffled")] * 4
