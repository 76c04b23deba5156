"""Reports that do not flatter, letter by letter: a full run, one of which nothing was measured, an invalid one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from rich.console import Console

from compare.reports import report
from compare.runs.rounds import with_accounts, with_costs
from edgewise.account import Closing
from edgewise.errors import ConfigError
from edgewise.places import CHECKOUT
from edgewise.summary import (
    Camera,
    Difference,
    FrameCounts,
    Interval,
    Latency,
    Lateness,
    Limits,
    Paired,
    PerThousand,
    Reason,
    Summary,
    TierSummary,
    WarmUp,
    schema_text,
)

GATEWAY: Final = TierSummary(
    engine="keras",
    model="resnet20@3ed6da86e141",
    results=12_400,
    missing=0,
    missing_by_last_place={},
    duplicates=3,
    reordered=1,
    rejected=0,
    rejected_by_rule={},
    correct=11_343,
    accuracy=11_343 / 12_400,
    accuracy_interval=Interval(low=0.90971, high=0.91953),
    measured=11_780,
    on_time=0.897,
    throughput_hz=1234.56,
    latency_ms=Latency(p50=24.66, p90=48.01, p99=1103.2, p999=2000.04),
    latency_stages_ms={"source": 0.82, "transport": 0.56, "queue": 0.34, "inference": 7.74, "result": 11.83},
    batch_mean=1.22,
    cpu_s=9.07,
    memory_bytes=618_270_720,
    uplink_bytes=63_680,
    per_1000_correct=PerThousand(cpu_s=0.8, uplink_bytes=5614.036),
    late_readings=0,
    worst_camera=Camera(name="camera-3", percentile="p99", latency_ms=1204.06, frames=2_945),
    starved_cameras=0,
)
FULL: Final = Summary(
    run="20261121T154942Z-demo",
    version="0.1.0",
    verdict="VALID",
    reasons=[],
    frames=FrameCounts(
        scheduled=12_400,
        sent=12_400,
        confirmed=12_400,
        unheard=0,
        refused=0,
        dropped_at_source=0,
        bridged=12_400,
        bridged_copies=3,
        never_bridged=0,
        rejected=0,
    ),
    lateness_ms=Lateness(p50=0.826, p99=19.464, max=1043.286),
    limits=Limits(),
    deadline_ms=500,
    warm_up=WarmUp(stable=True, lasted_s=5.0, frames=620, window_s=1.7),
    tiers={"gateway": GATEWAY},
)
NOTHING: Final = TierSummary(
    engine=None,
    model=None,
    results=0,
    missing=0,
    missing_by_last_place={},
    duplicates=0,
    reordered=0,
    rejected=0,
    rejected_by_rule={},
    correct=0,
    accuracy=None,
    throughput_hz=None,
    latency_ms=Latency(p50=None, p90=None, p99=None, p999=None),
    latency_stages_ms=dict.fromkeys(GATEWAY.latency_stages_ms),
    batch_mean=None,
    cpu_s=None,
    memory_bytes=None,
    uplink_bytes=0,
    late_readings=0,
)
EMPTY: Final = Summary(
    run="nobody",
    version="0.1.0",
    verdict="INVALID",
    reasons=[Reason(rule="plan", found=0, limit=1, next="no fleet wrote a plan for run 'nobody'; look at --run")],
    frames=FrameCounts(
        scheduled=0,
        sent=None,
        confirmed=None,
        unheard=None,
        refused=None,
        dropped_at_source=None,
        bridged=0,
        bridged_copies=0,
        never_bridged=None,
        rejected=0,
    ),
    lateness_ms=Lateness(p50=None, p99=None, max=None),
    tiers={"gateway": NOTHING},
)
INVALID: Final = FULL.model_copy(
    update={
        "verdict": "INVALID",
        "reasons": [
            Reason(
                rule="confirmed, never bridged",
                found=120,
                limit=0,
                next="see the bridge's log",
                consequences=[
                    Reason(
                        rule="missing in gateway",
                        found=120,
                        limit=0,
                        next="most were last seen: confirmed, never bridged; see frames.parquet, column fate",
                    )
                ],
            ),
            Reason(rule="late generator", found=19.464, limit=5.0, unit="ms", next="lower --rate-hz or --cameras"),
            Reason(rule="rejected by gateway", found=1, limit=0, next="see why: edgewise tail frames-rejected"),
        ],
        "remarks": [Reason(rule="copies in gateway", found=3, limit="counted once", next="each frame counts once")],
        "warm_up": WarmUp(stable=False, lasted_s=12.5, frames=1_550, window_s=1.7),
        "frames": FULL.frames.model_copy(
            update={"scheduled": 12_403, "dropped_at_source": 3, "bridged": 12_280, "never_bridged": 120}
        ),
        "tiers": {
            "gateway": GATEWAY.model_copy(
                update={
                    "results": 12_280,
                    "missing": 120,
                    "rejected": 1,
                    "late_readings": 1_200,
                    "measured": 10_850,
                    "worst_camera": Camera(name="camera-3", percentile="p99", latency_ms=None, frames=2_710),
                    "starved_cameras": 1,
                    "starved_names": ["camera-3"],
                    "latency_ms": Latency(p50=24.66, p90=48.01, p99=None, p999=None),
                }
            )
        },
    }
)

FULL_TEXT: Final = """\
 VALID   run 20261121T154942Z-demo

One tier ran alone, so there is none to compare it with. Accuracy: gateway 91.48 %.

Frames, from the schedule to Kafka
scheduled    sent  confirmed  unheard  refused  dropped at source  in Kafka  rejected
─────────────────────────────────────────────────────────────────────────────────────
   12,400  12,400     12,400        0        0                  0    12,400         0
Sent late by: p50 0.83 ms, p99 19.46 ms, max 1,043.29 ms. Copies in Kafka, counted once: 3.
Confirmed by the MQTT broker, never bridged: 0.

Results, in frames
tier     results  missing  rejected  copies  reordered  accuracy %  results/s
─────────────────────────────────────────────────────────────────────────────
gateway   12,400        0         0       3          1       91.48    1,234.6
95 % interval of the accuracy: gateway 90.97 to 91.95.

What gave them, and its cost
tier     engine  model                  frames/batch  CPU s  memory MB  uplink MB
─────────────────────────────────────────────────────────────────────────────────
gateway  keras   resnet20@3ed6da86e141           1.2    9.1        618       0.06
For 1,000 right answers: gateway 0.80 CPU s, 0.01 MB uplink.

Latency from due to seen, ms
tier     frames   p50   p90      p99    p99.9  right in 500 ms %
────────────────────────────────────────────────────────────────
gateway  11,780  24.7  48.0  1,103.2  2,000.0              89.70
Missing frames are infinitely late. n/a: too few samples (p99 needs 459, p99.9 needs 4,603), or infinite.
Without the warm-up: 620 frames due in the first 5.0 s; then three windows in a row agreed (windows of 1.7 s).
Slowest camera: gateway camera-3 p99 1,204.1 ms (2,945 frames).

Where that time goes: the median of each step, ms
tier     source  transport  queue  inference  result
────────────────────────────────────────────────────
gateway     0.8        0.6    0.3        7.7    11.8
"""
EMPTY_TEXT: Final = """\
 INVALID   run nobody
  plan: 0 (limit 1); no fleet wrote a plan for run 'nobody'; look at --run

None: this run is INVALID and its numbers must not be used. They stand below only to show what went wrong.

Frames, from the schedule to Kafka
scheduled  sent  confirmed  unheard  refused  dropped at source  in Kafka  rejected
───────────────────────────────────────────────────────────────────────────────────
        0   n/a        n/a      n/a      n/a                n/a         0         0
Sent late by: p50 n/a, p99 n/a, max n/a. Copies in Kafka, counted once: 0.
Confirmed by the MQTT broker, never bridged: n/a.

Results, in frames
tier     results  missing  rejected  copies  reordered  accuracy %  results/s
─────────────────────────────────────────────────────────────────────────────
gateway        0        0         0       0          0         n/a        n/a
95 % interval of the accuracy: gateway n/a.

What gave them, and its cost
tier     engine  model  frames/batch  CPU s  memory MB  uplink MB
─────────────────────────────────────────────────────────────────
gateway  n/a     n/a             n/a    n/a        n/a       0.00
For 1,000 right answers: gateway n/a CPU s, n/a MB uplink.

Latency from due to seen, ms
tier     frames  p50  p90  p99  p99.9  right in time %
──────────────────────────────────────────────────────
gateway       0  n/a  n/a  n/a    n/a              n/a
Missing frames are infinitely late. n/a: too few samples (p99 needs 459, p99.9 needs 4,603), or infinite.

Where that time goes: the median of each step, ms
tier     source  transport  queue  inference  result
────────────────────────────────────────────────────
gateway     n/a        n/a    n/a        n/a     n/a
"""
INVALID_TEXT: Final = """\
 INVALID   run 20261121T154942Z-demo
  confirmed, never bridged: 120 (limit 0); see the bridge's log
    hence missing in gateway: 120 (limit 0); most were last seen: confirmed, never bridged; see frames.parquet, column
    fate
  late generator: 19.464 ms (limit 5.0 ms); lower --rate-hz or --cameras
  rejected by gateway: 1 (limit 0); see why: edgewise tail frames-rejected

None: this run is INVALID and its numbers must not be used. They stand below only to show what went wrong.

Frames, from the schedule to Kafka
scheduled    sent  confirmed  unheard  refused  dropped at source  in Kafka  rejected
─────────────────────────────────────────────────────────────────────────────────────
   12,403  12,400     12,400        0        0                  3    12,280         0
Sent late by: p50 0.83 ms, p99 19.46 ms, max 1,043.29 ms. Copies in Kafka, counted once: 3.
Confirmed by the MQTT broker, never bridged: 120.

Results, in frames
tier     results  missing  rejected  copies  reordered  accuracy %  results/s
─────────────────────────────────────────────────────────────────────────────
gateway   12,280      120         1       3          1       91.48    1,234.6
95 % interval of the accuracy: gateway 90.97 to 91.95.

What gave them, and its cost
tier     engine  model                  frames/batch  CPU s  memory MB  uplink MB
─────────────────────────────────────────────────────────────────────────────────
gateway  keras   resnet20@3ed6da86e141           1.2    9.1        618       0.06
For 1,000 right answers: gateway 0.80 CPU s, 0.01 MB uplink.

Latency from due to seen, ms
tier     frames   p50   p90  p99  p99.9  right in 500 ms %
──────────────────────────────────────────────────────────
gateway  10,850  24.7  48.0  n/a    n/a              89.70
Missing frames are infinitely late. n/a: too few samples (p99 needs 459, p99.9 needs 4,603), or infinite.
Without the warm-up: 1,550 frames due in the first 12.5 s; no three windows in a row ever agreed (windows of 1.7 s).
gateway: 1,200 results were timed by Kafka's append stamp (whole ms), as the ledger had not caught up.
Slowest camera: gateway camera-3 p99 infinite (2,710 frames), 1 starved.

Where that time goes: the median of each step, ms
tier     source  transport  queue  inference  result
────────────────────────────────────────────────────
gateway     0.8        0.6    0.3        7.7    11.8
Remark: copies in gateway: 3 (limit counted once); each frame counts once
"""

CLUSTER: Final = GATEWAY.model_copy(
    update={
        "engine": "bigdl",
        "duplicates": 64,
        "reordered": 0,
        "correct": 11_340,
        "accuracy": 11_340 / 12_400,
        "accuracy_interval": Interval(low=0.90946, high=0.91929),
        "on_time": 0.7,
        "throughput_hz": 1200.04,
        "latency_ms": Latency(p50=402.26, p90=611.9, p99=1303.4, p999=2210.0),
        "latency_stages_ms": {"source": 0.82, "transport": 180.4, "queue": 12.1, "inference": 150.0, "result": 60.3},
        "batch_mean": 7.75,
        "tasks": 2,
        "micro_batch_ms": {
            "latest_offset": 3.1,
            "query_planning": 9.05,
            "wal_commit": 21.5,
            "add_batch": 263.25,
            "commit_offsets": None,
            "whole": 320.0,
        },
        "cpu_s": 88.1,
        "memory_bytes": 2_918_270_720,
        "uplink_bytes": 38_400_000,
        "per_1000_correct": PerThousand(cpu_s=7.769, uplink_bytes=3_386_243.4),
        "worst_camera": Camera(name="camera-0", percentile="p99", latency_ms=1400.0, frames=2_945),
    }
)
TWO: Final = FULL.model_copy(
    update={
        "tiers": {"gateway": GATEWAY, "cluster": CLUSTER},
        "co_located": True,
        "paired": Paired(
            frames=12_400,
            agreement=12_280 / 12_400,
            both_right=11_290,
            only_gateway_right=53,
            only_cluster_right=50,
            both_wrong=1_007,
            accuracy_difference=-3 / 12_400,
            accuracy_difference_interval=Interval(low=-0.00185, high=0.00137),
            mcnemar_p=0.8438,
            latency_difference_ms=Difference(p50=377.41, p90=-12.0, p50_interval=Interval(low=370.0, high=384.94)),
            measured=11_780,
        ),
    }
)
TWO_TEXT: Final = """\
 VALID   run 20261121T154942Z-demo

Of the 12,400 frames that both tiers answered, 99.03 % got the same label from both; accuracy: gateway 91.48 %, cluster
91.45 %. co-located: the tiers shared these cores, so no winner is named.

Frames, from the schedule to Kafka
scheduled    sent  confirmed  unheard  refused  dropped at source  in Kafka  rejected
─────────────────────────────────────────────────────────────────────────────────────
   12,400  12,400     12,400        0        0                  0    12,400         0
Sent late by: p50 0.83 ms, p99 19.46 ms, max 1,043.29 ms. Copies in Kafka, counted once: 3.
Confirmed by the MQTT broker, never bridged: 0.

The same frames on both tiers
answered by both  same label %  both right  only gateway right  only cluster right  both wrong
──────────────────────────────────────────────────────────────────────────────────────────────
          12,400         99.03      11,290                  53                  50       1,007
Accuracy, cluster minus gateway: -0.02 points (95 % interval -0.18 to 0.14); McNemar's p 0.844.

Results, in frames
tier     results  missing  rejected  copies  reordered  accuracy %  results/s
─────────────────────────────────────────────────────────────────────────────
gateway   12,400        0         0       3          1       91.48    1,234.6
cluster   12,400        0         0      64          0       91.45    1,200.0
95 % interval of the accuracy: gateway 90.97 to 91.95, cluster 90.95 to 91.93.

What gave them, and its cost
tier     engine  model                  frames/batch  CPU s  memory MB  uplink MB
─────────────────────────────────────────────────────────────────────────────────
gateway  keras   resnet20@3ed6da86e141           1.2    9.1        618       0.06
cluster  bigdl   resnet20@3ed6da86e141           7.8   88.1      2,918      38.40
For 1,000 right answers: gateway 0.80 CPU s, 0.01 MB uplink; cluster 7.77 CPU s, 3.39 MB uplink.

Latency from due to seen, ms
tier     frames    p50    p90      p99    p99.9  right in 500 ms %
──────────────────────────────────────────────────────────────────
gateway  11,780   24.7   48.0  1,103.2  2,000.0              89.70
cluster  11,780  402.3  611.9  1,303.4  2,210.0              70.00
Missing frames are infinitely late. n/a: too few samples (p99 needs 459, p99.9 needs 4,603), or infinite.
Without the warm-up: 620 frames due in the first 5.0 s; then three windows in a row agreed (windows of 1.7 s).
Of the same frame, cluster minus gateway (11,780 frames): p50 377.4 ms (95 %: 370.0 to 384.9), p90 -12.0 ms.
Slowest camera: gateway camera-3 p99 1,204.1 ms (2,945 frames), cluster camera-0 p99 1,400.0 ms (2,945 frames).

Where that time goes: the median of each step, ms
tier     source  transport  queue  inference  result
────────────────────────────────────────────────────
gateway     0.8        0.6    0.3        7.7    11.8
cluster     0.8      180.4   12.1      150.0    60.3

Where a micro-batch's time goes: medians, ms
tier     latest offset  query planning  wal commit  add batch  commit offsets  whole
────────────────────────────────────────────────────────────────────────────────────
cluster            3.1             9.1        21.5      263.2             n/a  320.0
Tasks at the same time in the cluster: 2.
"""


def printed(summary: Summary, *, width: int = 120) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(report.rendered(summary))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


@pytest.mark.parametrize(
    ("summary", "text"),
    [(FULL, FULL_TEXT), (EMPTY, EMPTY_TEXT), (INVALID, INVALID_TEXT), (TWO, TWO_TEXT)],
    ids=["full", "empty", "invalid", "two"],
)
def test_a_report_is_this_letter_by_letter(summary: Summary, text: str) -> None:
    assert printed(summary) == text


def headings(text: str) -> list[list[str]]:
    lines = text.splitlines()
    return [lines[place - 1].split() for place, line in enumerate(lines) if line.startswith("──")]


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("summary", [FULL, EMPTY, INVALID, TWO], ids=["full", "empty", "invalid", "two"])
def test_nothing_is_cut_off(summary: Summary, width: int) -> None:
    text = printed(summary, width=width)
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= width
    for word in ("confirmed", "reordered", "results/s", "accuracy", "transport", "inference", "frames/batch", "p99.9"):
        assert word in text


def test_two_tiers_with_long_names_and_large_numbers_fit_too() -> None:
    wide = GATEWAY.model_copy(update={"engine": "openvino", "model": f"{'resnet20-int8':<13}@0123456789ab"})
    large = {"results": 12_345_678, "cpu_s": 12_345.6, "memory_bytes": 98_765_000_000, "uplink_bytes": 98_765_000_000}
    text = printed(FULL.model_copy(update={"tiers": {"gateway": GATEWAY, "cluster": wide.model_copy(update=large)}}))
    assert "…" not in text
    for whole in ("resnet20-int8@0123456789ab", "openvino", "12,345,678", "12,345.6", "98,765", "98,765.00"):
        assert whole in text


def test_the_verdict_and_its_reasons_stand_before_any_number() -> None:
    lines = printed(INVALID).splitlines()
    assert lines[0] == " INVALID   run 20261121T154942Z-demo"
    before = " ".join(lines[1 : lines.index("")])
    assert before.index("missing in gateway: 120 (limit 0)") < before.index("rejected by gateway: 1 (limit 0)")


def test_whether_the_tiers_agree_stands_before_how_fast_they_are() -> None:
    text = printed(TWO)
    agreement = text.index("The same frames on both tiers")
    assert agreement < min(
        text.index(speed) for speed in ("results/s", "CPU s", "Latency from", "cluster minus gateway")
    )


def test_two_tiers_on_one_machine_have_no_winner() -> None:
    sentence = "co-located: the tiers shared these cores, so no winner is named"
    assert printed(TWO).count(sentence) == 1
    assert sentence not in printed(FULL)


def test_tiers_without_a_frame_in_common_are_not_measured_against_each_other() -> None:
    nothing = Paired(
        frames=0,
        agreement=None,
        both_right=0,
        only_gateway_right=0,
        only_cluster_right=0,
        both_wrong=0,
        latency_difference_ms=Difference(p50=None, p90=None),
    )
    text = printed(TWO.model_copy(update={"paired": nothing}))
    assert "cluster minus gateway (0 frames): p50 n/a, p90 n/a." in text


def test_what_was_not_measured_is_not_a_zero() -> None:
    text = printed(EMPTY)
    row = next(line for line in text.splitlines() if line.startswith("gateway"))
    assert row.split()[-2:] == ["n/a", "n/a"]
    assert "0.0 " not in text
    assert "n/a ms" not in text


def test_a_measured_zero_is_not_n_a() -> None:
    idle = GATEWAY.model_copy(update={"accuracy": 0.0, "throughput_hz": 0.0})
    row = next(
        line
        for line in printed(FULL.model_copy(update={"tiers": {"gateway": idle}})).splitlines()
        if line.startswith("gateway")
    )
    assert row.split()[-2:] == ["0.00", "0.0"]


COUNTS: Final = {"scheduled", "sent", "confirmed", "unheard", "refused", "dropped", "at", "source", "in", "Kafka"} | {
    *("rejected", "results", "missing", "copies", "reordered", "frames"),
    *("answered", "by", "both", "right", "wrong", "only", "gateway", "cluster"),
}
"""Words of headings that count frames, as the table's title says."""
UNITS: Final = {"%", "s", "MB", "results/s", "frames/batch"}
WORDS: Final = {"tier", "engine", "model"}


@pytest.mark.parametrize("summary", [FULL, TWO], ids=["full", "two"])
def test_each_column_has_a_unit_where_it_needs_one(summary: Summary) -> None:
    lines = printed(summary).splitlines()
    for place, line in enumerate(lines):
        if not line.startswith("──"):
            continue
        title, names = lines[place - 2], lines[place - 1].split("  ")
        for name in filter(None, (name.strip() for name in names)):
            counted = set(name.split()) <= COUNTS and "rames" in title
            assert counted or title.endswith(", ms") or set(name.split()) & (UNITS | WORDS), f"{name!r} of {title!r}"


def test_numbers_say_of_how_many_frames_they_are() -> None:
    lines = printed(INVALID).splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("Latency"))
    assert lines[place + 1].split()[1] == "frames"
    assert lines[place + 3].split()[1] == "10,850", "missing frames are part of the percentiles, the warm-up's are not"


# --- JSON ---------------------------------------------------------------------------------------


KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "object": dict,
    "array": list,
    "integer": int,
    "number": (int, float),
    "string": str,
    "boolean": bool,
    "null": type(None),
}
KNOWN: Final = {
    *("type", "title", "description", "default", "properties", "required", "additionalProperties"),
    *("anyOf", "const", "enum", "items", "$defs", "$ref"),
    *("minimum", "maximum", "exclusiveMinimum"),
}


def conforms(value: object, schema: Mapping[str, Any], *, whole: Mapping[str, Any]) -> bool:
    """Say whether a value is what a JSON Schema wants: those of its words that ours uses, and no others."""
    assert set(schema) <= KNOWN, f"the schema uses words that this test does not know: {set(schema) - KNOWN}"
    if "$ref" in schema:
        return conforms(value, whole["$defs"][schema["$ref"].removeprefix("#/$defs/")], whole=whole)
    return (
        ("type" not in schema or isinstance(value, KINDS[schema["type"]]))
        and ("const" not in schema or value == schema["const"])
        and ("enum" not in schema or value in schema["enum"])
        and (not isinstance(value, int | float) or within(value, schema))
        and ("anyOf" not in schema or any(conforms(value, one, whole=whole) for one in schema["anyOf"]))
        and (not isinstance(value, list) or all(conforms(one, schema["items"], whole=whole) for one in value))
        and (not isinstance(value, dict) or members_conform(value, schema, whole=whole))
    )


def within(value: float, schema: Mapping[str, Any]) -> bool:
    low, high, above = (schema.get(name) for name in ("minimum", "maximum", "exclusiveMinimum"))
    return (low is None or value >= low) and (high is None or value <= high) and (above is None or value > above)


def members_conform(value: Mapping[str, object], schema: Mapping[str, Any], *, whole: Mapping[str, Any]) -> bool:
    known: Mapping[str, Any] = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    if not set(schema.get("required", ())) <= set(value) or (others is False and not set(value) <= set(known)):
        return False
    rest = others if isinstance(others, dict) else {}
    return all(conforms(member, known.get(name, rest), whole=whole) for name, member in value.items())


def of_json(summary: Summary, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    report.show(summary, as_json=True)
    said = capsys.readouterr().out
    assert said.count("\n") == 1, "one line, for programs"
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.mark.parametrize("summary", [FULL, EMPTY, INVALID, TWO], ids=["full", "empty", "invalid", "two"])
def test_json_is_what_the_schema_says_and_comes_back_whole(
    summary: Summary, capsys: pytest.CaptureFixture[str]
) -> None:
    schema, found = Summary.model_json_schema(), of_json(summary, capsys)
    assert conforms(found, schema, whole=schema)
    assert Summary.model_validate(found) == summary


def test_the_schema_refuses_what_is_no_summary(capsys: pytest.CaptureFixture[str]) -> None:
    schema, found = Summary.model_json_schema(), of_json(FULL, capsys)
    wrongs: list[dict[str, object]] = [{"schema": 2}, {"verdict": "MAYBE"}, {"run": 7}, {"extra": 1}, {"frames": {}}]
    wrongs += [{"reasons": [1]}, {"tiers": {"gateway": {}}}, {"limits": {"late_ms": -1}}]
    for wrong in wrongs:
        assert not conforms({**found, **wrong}, schema, whole=schema), wrong
    assert not conforms({name: found[name] for name in found if name != "run"}, schema, whole=schema)


def test_json_has_the_keys_that_the_design_promises(capsys: pytest.CaptureFixture[str]) -> None:
    found = of_json(FULL, capsys)
    assert next(iter(found)) == "schema"
    assert {"schema", "run", "verdict", "reasons", "frames", "lateness_ms", "tiers", "paired"} <= set(found)
    assert {"scheduled", "sent", "confirmed", "dropped_at_source", "bridged", "rejected"} <= set(found["frames"])
    assert {
        *("engine", "model", "results", "missing", "duplicates", "reordered", "rejected", "correct", "accuracy"),
        *("throughput_hz", "latency_ms", "cpu_s", "memory_bytes", "uplink_bytes"),
    } <= set(found["tiers"]["gateway"])
    assert set(found["tiers"]["gateway"]["latency_ms"]) == {"p50", "p90", "p99", "p999"}


SCHEMA_COMMAND: Final = "from edgewise.summary import schema_text; print(schema_text(), end='')"


def test_the_published_schema_is_the_codes() -> None:
    path = CHECKOUT / "docs" / "summary.schema.json"
    again = f'write it again: .venv/bin/python -c "{SCHEMA_COMMAND}" > docs/summary.schema.json'
    assert path.is_file(), again
    assert path.read_text() == schema_text(), again
    assert json.loads(path.read_text()) == Summary.model_json_schema(by_alias=True)


# --- costs --------------------------------------------------------------------------------------


def closing(**said: object) -> Closing:
    return Closing(run=FULL.run, part="gateway", name="gateway", summary=said)


def test_costs_are_the_sums_over_a_tiers_processes() -> None:
    parts = [closing(cpu_s=1.25, memory_bytes=100), closing(cpu_s=2, memory_bytes=50)]
    tier = with_costs(FULL, parts).tiers["gateway"]
    assert (tier.cpu_s, tier.memory_bytes) == (3.25, 150)


@pytest.mark.parametrize("said", [{}, {"cpu_s": "much", "memory_bytes": None}, {"cpu_s": 1e999, "memory_bytes": [1]}])
def test_costs_that_a_process_did_not_account_for_are_not_measured(said: Mapping[str, object]) -> None:
    tier = with_costs(FULL, [closing(cpu_s=1, memory_bytes=1), closing(**said)]).tiers["gateway"]
    assert (tier.cpu_s, tier.memory_bytes) == (None, None)


STEPS: Final = {
    "latest_offset": 2.5,
    "query_planning": 3.0,
    "wal_commit": 4.0,
    "add_batch": 5.0,
    "commit_offsets": 6.0,
    "whole": 21.5,
}


def test_a_micro_batchs_steps_come_from_the_clusters_account() -> None:
    account = Closing(run=FULL.run, part="cluster", name="cluster", summary={"micro_batch_ms": STEPS, "cpu_s": 1.0})
    costed = with_costs(TWO, [closing(cpu_s=2.0), account])
    assert costed.tiers["cluster"].micro_batch_ms == STEPS
    assert costed.tiers["gateway"].micro_batch_ms is None
    assert with_costs(FULL, [closing(cpu_s=2.0)]).tiers["gateway"].micro_batch_ms is None


@pytest.mark.parametrize("said", [{}, {"micro_batch_ms": None}, {"micro_batch_ms": [1]}, {"micro_batch_ms": "soon"}])
def test_an_account_without_micro_batches_has_none(said: Mapping[str, object]) -> None:
    assert report.micro_batch_ms([said]) is None


def test_steps_that_nobody_measured_are_none_and_others_are_nobodys() -> None:
    found = report.micro_batch_ms(
        [{"micro_batch_ms": {"whole": 7, "add_batch": 1e999, "wal_commit": "1", "lunch": 3.0}}]
    )
    assert found == dict.fromkeys(STEPS) | {"whole": 7.0}


def test_the_manifest_has_each_parts_command_and_account() -> None:
    account = Closing(run=FULL.run, part="cluster", name="cluster", summary={"tasks": 2, "cores": 2})
    commands = {"bridge": ["edgewise", "bridge"], "cluster": ["edgewise", "cluster"]}
    assert with_accounts(commands, [account]) == {
        "bridge": {"command": ["edgewise", "bridge"], "accounts": []},
        "cluster": {"command": ["edgewise", "cluster"], "accounts": [{"tasks": 2, "cores": 2}]},
    }


def test_medians_of_two_processes_are_not_merged() -> None:
    assert report.micro_batch_ms([{"micro_batch_ms": STEPS}, {}]) == STEPS
    assert report.micro_batch_ms([{"micro_batch_ms": STEPS}] * 2) is None


# --- the folder ---------------------------------------------------------------------------------


def test_a_summary_is_read_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(FULL.model_dump_json(indent=1))
    assert report.read(tmp_path) == FULL


def test_a_folder_without_a_summary_is_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        report.read(tmp_path)
    assert str(caught.value) == f"{tmp_path} is no run folder: it has no summary.json; runs stand in runs/"


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 2}', "\x00"])
def test_a_summary_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(ConfigError) as caught:
        report.read(tmp_path)
    expected = f"{tmp_path / 'summary.json'} cannot be read as a summary; was it written by another version?"
    assert str(caught.value) == expected
