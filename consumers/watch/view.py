"""From the model to what is shown: a look at all of it, and one page of the camera wall."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from consumers.watch.cameras import FRAME_MOST_BYTES, RECENT, Camera
from consumers.watch.look import AnswerLook, Look, Mark, Paired, Stage, State, TierLook, Tile, Verdict, Worst
from consumers.watch.model import RESULTS_MOST_HZ, Model
from consumers.watch.pictures import PIXELS_MOST
from consumers.watch.pulse import SILENT_S
from consumers.watch.window import WINDOW_S
from edgewise import dataset
from edgewise.clock import SECOND_NS
from edgewise.messages import Tier

WORST: Final = 5
STALLED_S: Final = 5.0
"""So long after Kafka was read, what is shown is old."""
TOGETHER_LEAST: Final = 100
"""Answers of each tier from which on it is strange that none is to the same frame."""
Order = Literal["name", "slowest", "wrong"]
ORDERS: Final[tuple[Order, ...]] = ("name", "slowest", "wrong")


def nothing(run: str, *, said: str, notices: Sequence[str]) -> Look:
    """Give the look of no run."""
    return Look(
        run=run,
        state="waiting",
        about=said,
        watched_s=0.0,
        notices=notices,
        remarks=(),
        names=(),
        stages=(),
        tiers=(),
        paired=Paired(0, 0),
        worst=(),
        marks={},
        began_ns=0,
    )


def look(model: Model, *, now_ns: int, wall_ns: int, notices: Sequence[str], verdict: Verdict | None) -> Look:
    """Give all that both views show, but for the pictures; ``wall_ns`` is the moment, ``now_ns`` the tick."""
    tiers = [_tier(model, tier, now_ns=now_ns) for tier in model.shown_tiers()]
    wrong = [] if verdict else list(notices) or list(_wrong(model, now_ns=now_ns, wall_ns=wall_ns))
    return Look(
        run=model.run,
        state=_state(model, wall_ns=wall_ns, verdict=verdict),
        about=model.told.about(),
        watched_s=(now_ns - model.began_ns) / SECOND_NS,
        notices=wrong,
        remarks=list(_remarks(model)),
        names=model.cameras.names(),
        stages=list(_stages(model, tiers)),
        tiers=tiers,
        paired=Paired(model.pairs, model.same),
        worst=_worst(model),
        marks=_marks(model),
        began_ns=model.began_ns,
        verdict=verdict,
        points=list(model.points),
    )


def _state(model: Model, *, wall_ns: int, verdict: Verdict | None) -> State:
    if verdict is not None:
        return "judged"
    if model.told.sent_all:
        return "ended"
    return "planned" if wall_ns < model.told.start_ns else "running"


def _tier(model: Model, tier: Tier, *, now_ns: int) -> TierLook:
    seen = model.tiers[tier]
    p50_ms, p99_ms = seen.window.percentiles(now_ns=now_ns)
    return TierLook(
        name=tier.value,
        engine=seen.engine,
        model=seen.model,
        results=seen.results,
        rate_hz=seen.rate.hz,
        right=seen.right,
        judged=seen.judged,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        waiting=model.cameras.waiting[tier],
        lag=seen.lag,
        silent_s=model.silent_s(tier),
        rejected=seen.rejected,
    )


def _stages(model: Model, tiers: Sequence[TierLook]) -> Iterator[Stage]:
    """Give the steps of a frame's way, as far as they were seen or accounted for."""
    planned = model.told.planned()

    def share(frames: int | None) -> float | None:
        return None if frames is None or not planned else min(1.0, frames / planned)

    steps = {
        "planned": planned,
        "sent": model.told.counted("sent"),
        "confirmed by MQTT": model.told.counted("confirmed"),
        "in Kafka": model.frames,
    }
    steps |= {f"answered by the {tier.name}": tier.results for tier in tiers}
    for name, frames in steps.items():
        yield Stage(name, frames, share(frames))


# --- what is wrong --------------------------------------------------------------------------------


def _wrong(model: Model, *, now_ns: int, wall_ns: int) -> Iterator[str]:
    """Say what ought to happen and does not; of a Kafka that is away that was said before."""
    stalled_s = (now_ns - model.read_ns) / SECOND_NS
    if stalled_s > STALLED_S:
        yield f"Nothing was read from Kafka for {stalled_s:,.0f} s: what is shown here is as old."
    if (still_s := model.standstill_s(wall_ns=wall_ns)) is not None:
        silent_s = model.silent_s(Tier.GATEWAY)
        beside = not model.tiers[Tier.GATEWAY].reads_kafka and silent_s is not None and silent_s < still_s / 2
        where = "the gateway still gets them from MQTT: look at the bridge" if beside else "look at fleet and bridge"
        yield f"No frame came to Kafka for {still_s:,.0f} s, though more are due; {where}."
    for tier in model.shown_tiers():
        if model.is_silent(tier):
            silent_s = model.silent_s(tier)
            since = "yet" if silent_s is None else f"for {silent_s:,.0f} s"
            waiting = model.cameras.waiting[tier]
            frames = "1 frame waits" if waiting == 1 else f"{waiting:,} frames wait"
            yield f"No results from the {tier.value} {since}; {frames} for it."
    for fleet in model.told.overdue(wall_ns):
        yield f"The fleet {fleet!r} should have ended by its plan and has not accounted for itself: was it killed?"


def _remarks(model: Model) -> Iterator[str]:
    """Say what the figures do not cover."""
    if model.one_in > 1:
        yield (
            f"More than {RESULTS_MOST_HZ:,} results a second: the results of one frame in {model.one_in} are looked "
            "into and count for all."
        )
    if model.passed:
        yield f"{model.passed:,} frames in Kafka were counted and not read, so that watching stays cheap."
    if not model.truth_known:
        yield "The true classes of these images are not known here, so right and wrong cannot be told."
    if model.cameras.untold:
        yield f"Only the first {len(model.cameras):,} cameras are shown."
    if model.cameras.large:
        yield f"Frames of more than {FRAME_MOST_BYTES:,} bytes or {PIXELS_MOST:,} pixels are counted and not shown."
    if model.cameras.split:
        yield "The tiers share the frames out: each frame is one tier's alone."
    elif not model.pairs and all(seen.results > TOGETHER_LEAST for seen in model.tiers.values()):
        yield "No frame was answered by both tiers. If they share the frames out (--split SEED), say it here too."


# --- the cameras ----------------------------------------------------------------------------------


def _worst(model: Model) -> list[Worst]:
    """Give the slowest cameras, each tier measured by what is usual in it."""
    tiers = model.shown_tiers()
    medians = {camera.name: (camera, [camera.sides[tier].median_ms() for tier in tiers]) for camera in model.cameras}
    usual = [_median([found[place] for _, found in medians.values()]) for place in range(len(tiers))]

    def times(found: Sequence[float | None]) -> float:
        return max((one / of for one, of in zip(found, usual, strict=True) if one and of), default=0.0)

    slowest = heapq.nlargest(WORST, medians.values(), key=lambda found: times(found[1]))
    return [
        Worst(
            camera=camera.name,
            medians_ms={tier.value: one for tier, one in zip(tiers, found, strict=True)},
            right=sum(sum(camera.sides[tier].recent_right) for tier in tiers),
            judged=sum(len(camera.sides[tier].recent_right) for tier in tiers),
        )
        for camera, found in slowest
        if times(found)
    ]


def _median(values: Sequence[float | None]) -> float | None:
    ranked = sorted(value for value in values if value is not None)
    return ranked[(len(ranked) - 1) // 2] if ranked else None


def _marks(model: Model) -> dict[str, str]:
    """Give each camera's mark by tier, as one letter."""
    live = model.live_tiers()
    shown = [(camera, camera.shown(live)) for camera in model.cameras]
    return {
        tier.value: "".join(_mark(model, camera, tier, number, live=live)[0] for camera, number in shown)
        for tier in model.shown_tiers()
    }


def _mark(model: Model, camera: Camera, tier: Tier, number: int | None, *, live: Sequence[Tier]) -> Mark:
    given = None if number is None else camera.sides[tier].given.get(number)
    if given is not None:
        return "unjudged" if given.right is None else "right" if given.right else "wrong"
    if model.cameras.split and number is not None and not model.cameras.is_owner(tier, camera, number):
        return "elsewhere"
    return "open" if tier in live else "silent"


def ordered(model: Model, order: Order) -> list[Camera]:
    """Give all cameras in this order."""
    keys: dict[Order, Callable[[Camera], float]] = {
        "name": lambda _: 0.0,
        "slowest": lambda camera: -max(camera.sides[tier].median_ms() or 0.0 for tier in Tier),
        "wrong": _right_share,
    }
    return sorted(model.cameras, key=keys[order])


def _right_share(camera: Camera) -> float:
    recent = [right for side in camera.sides.values() for right in side.recent_right]
    return sum(recent) / len(recent) if recent else 1.0


def wall(model: Model, *, order: Order, first: int, count: int, now_ns: int) -> list[Tile]:
    """Give some cameras of the wall, and their frames as they travelled."""
    live = model.live_tiers()
    return [_tile(model, camera, live, now_ns=now_ns) for camera in ordered(model, order)[first : first + count]]


def _tile(model: Model, camera: Camera, live: list[Tier], *, now_ns: int) -> Tile:
    number = camera.shown(live)
    answers = []
    truth = ""
    for tier in model.shown_tiers():
        side = camera.sides[tier]
        given = None if number is None else side.given.get(number)
        if given is not None and given.truth is not None:
            truth = class_name(given.truth)
        answers.append(
            AnswerLook(
                tier=tier.value,
                mark=_mark(model, camera, tier, number, live=live),
                label="" if given is None else class_name(given.label),
                age_s=(now_ns - side.seen_ns) / SECOND_NS if side.seen_ns else None,
            )
        )
    return Tile(camera.name, number, truth, answers, None if number is None else camera.frames.get(number))


def class_name(label: int) -> str:
    """Give a class's name, or its number where it has none."""
    return dataset.CLASSES[label] if 0 <= label < len(dataset.CLASSES) else str(label)


NOTES: Final = (
    f"Counts begin with the watch. Latency is from due to Kafka's stamp of the result, over the last {WINDOW_S} s. "
    f"A tier is silent when it has answered nothing for {SILENT_S:g} s while frames wait for it, or for twice as long "
    f"as it let them wait lately. A camera's median is of its last {RECENT} answers."
)
