"""What makes a run INVALID: each rule one function, which gives what was found, its limit and what to do next.

``facts`` has what the rules look at, ``causes`` puts their reasons in order. What is worth
knowing and breaks no rule is a remark.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from consumers.ledger.causes import Broken, Found
from consumers.ledger.clocks import FLEET
from consumers.ledger.columns import mask
from consumers.ledger.facts import Facts
from consumers.ledger.pace import BACKLOG, LATE, backlog, late_generator, slow_ledger
from consumers.ledger.table import Fate
from edgewise import dataset
from edgewise.statistics import SAMPLES_NEEDED
from edgewise.summary import Reason

PLAN: Final = "plan"
ACCOUNT: Final = "account"
CLOCK: Final = "impossible stage times"
CLOCK_OFF: Final = "clock off"
BROKER: Final = "MQTT broker died"
REJECTED_BY_BRIDGE: Final = "rejected by the bridge"
STARVED: Final = "starving camera"
WARM_UP: Final = "never stable"
MODELS: Final = "different models"
COUNTED_TWICE: Final = "counted twice"
OTHERS: Final = "another tier's frames"
OTHER_DATA: Final = "other data set"
WRONG_IMAGE: Final = "wrong image"


def no_plan(facts: Facts) -> Found:
    """Want a plan: without one nobody knows what was to be sent."""
    if not facts.collected.plans:
        follow = f"no fleet wrote a plan for run {facts.collected.run!r}; look at --run"
        yield Broken(Reason(rule=PLAN, found=0, limit=1, next=follow))


def no_account(facts: Facts) -> Found:
    """Want each fleet's account: one that died says neither what it sent nor when it ended."""
    if facts.collected.plans and not facts.collected.fleets_closed():
        lost = Fate.NO_ACCOUNT.value
        explains = {f"missing in {tier.name}" for tier in facts.tiers if lost in tier.summary.missing_by_last_place}
        reason = Reason(rule=ACCOUNT, found="no closing account", limit="one a fleet", next="see the fleet's log")
        yield Broken(reason, frozenset(explains | facts.in_each(STARVED, "no results", "too few samples")))


def other_data(facts: Facts) -> Found:
    """Want our data set: frames of another one cannot be judged."""
    if unknown := sum(tier.rows.table["truth"].null_count for tier in facts.each_once):
        follow = (
            f"the plan's split is not {dataset.NAME}'s by its SHA-256; let the fleet and the ledger use the same kit"
        )
        yield Broken(Reason(rule=OTHER_DATA, found=unknown, limit=0, next=follow))


def wrong_image(facts: Facts) -> Found:
    """Want answers to the images that the plan gave the frames."""
    for tier in facts.tiers:
        if wrong := int((tier.rows.answered & ~mask(tier.rows.table["right_image"])).sum()):
            follow = "a result must name the image of its frame; the frames are in frames.parquet, column right_image"
            yield Broken(Reason(rule=f"{WRONG_IMAGE} in {tier.name}", found=wrong, limit=0, next=follow))


def counted_twice(facts: Facts) -> Found:
    """Want one row for each frame in each tier that owes it: a second one would count again."""
    for tier in facts.tiers:
        scheduled = facts.collected.scheduled(tier.rows.tier)
        codes, _ = tier.rows.codes("camera")
        names = np.stack([codes.astype(np.int64), np.asarray(tier.rows.table["number"], dtype=np.int64)])
        order = np.lexsort(names)
        again = int((names[:, order[1:]] == names[:, order[:-1]]).all(axis=0).sum())
        if again or len(codes) != scheduled:
            follow = f"{len(codes):,} rows for {scheduled:,} frames: an error of the ledger; please report it"
            yield Broken(Reason(rule=f"{COUNTED_TWICE} in {tier.name}", found=again, limit=0, next=follow))


def answered_others(facts: Facts) -> Found:
    """Want no answer to a frame that is another tier's: then a tier, or the ledger, was told of another split."""
    for tier in facts.tiers:
        if others := facts.collected.of_others(tier.rows.tier):
            follow = f"{tier.name} and ledger must have the same --split; these answers are in no other number"
            reason = Reason(rule=f"{OTHERS} in {tier.name}", found=others, limit=0, unit="frames", next=follow)
            explained = (f"{rule} in {tier.name}" for rule in ("missing", STARVED, "no results", BACKLOG))
            yield Broken(reason, frozenset(explained))


def different_models(facts: Facts) -> Found:
    """Want one model: an engine stands for it when the gate has passed it."""
    if facts.different:
        follow = "give both tiers the same --model; an engine stands for it once this passes: edgewise models check"
        yield Broken(Reason(rule=MODELS, found=facts.different, limit="one model", next=follow))


def clock_off(facts: Facts) -> Found:
    """Want parts whose clocks are the ledger's, as exchanges with Kafka tell: latencies carry what they are off."""
    for part, one in facts.clocks.items():
        if one.offset_ms is None or one.bound_ms is None:
            continue
        if abs(one.offset_ms) - one.bound_ms > facts.limits.clock_off_ms:
            ahead = "ahead of" if one.offset_ms > 0 else "behind"
            follow = (
                f"clock of {part} is {ahead} the ledger's, give or take {one.bound_ms:g} ms: set it by NTP, "
                "or measure on one machine"
            )
            reason = Reason(
                rule=f"{CLOCK_OFF} in {part}",
                found=one.offset_ms,
                limit=facts.limits.clock_off_ms,
                unit="ms",
                next=follow,
            )
            explained = {
                f"{CLOCK} in {tier.name}"
                for tier in facts.tiers
                if tier.impossible is not None and tier.impossible.part in {part, part.split()[0]}
            }
            yield Broken(reason, frozenset(explained | ({LATE} if part.startswith(FLEET) else set())))


def clocks(facts: Facts) -> Found:
    """Want no moment to lie before the one that it follows."""
    for tier in facts.tiers:
        wrong = tier.impossible
        if wrong is None or wrong.share <= facts.limits.clock_share:
            continue
        ahead = "ahead" if wrong.off_s > 0 else "behind"
        follow = (
            f"clock of {wrong.part} is off by about {abs(wrong.off_s):.3g} s ({ahead}): set it by NTP, "
            f"or measure on one machine; frames by step: {_listed(wrong.by_step)}"
        )
        reason = Reason(
            rule=f"{CLOCK} in {tier.name}",
            found=round(wrong.share * 100, 2),
            limit=facts.limits.clock_share * 100,
            unit="% of frames",
            next=follow,
        )
        same = {
            f"{CLOCK} in {other.name}"
            for other in facts.tiers
            if other is not tier and other.impossible is not None and other.impossible.part == wrong.part
        }
        yield Broken(reason, frozenset(same | ({LATE} if wrong.part == FLEET else set())))


def starving(facts: Facts) -> Found:
    """Want no camera to go without answers while the others get theirs."""
    for tier in facts.tiers:
        if not (cameras := tier.summary.starved_cameras):
            continue
        first = ", ".join(tier.summary.starved_names)
        follow = f"far fewer or far later answers than the others: {first}; see frames.parquet, column camera"
        explains = {f"{STARVED} in {other.name}" for other in facts.tiers if other is not tier}
        if tier.only_starved_miss:
            explains |= {f"missing in {other.name}" for other in facts.tiers if other.only_starved_miss}
        if tier.only_of_starved(~tier.rows.owed):
            explains |= {Fate.DROPPED.value}
        reason = Reason(rule=f"{STARVED} in {tier.name}", found=cameras, limit=0, unit="cameras", next=follow)
        yield Broken(reason, frozenset(explains))


def dropped(facts: Facts) -> Found:
    """Want every frame of the schedule sent."""
    if facts.frames.dropped_at_source:
        follow = (
            "the MQTT broker or this machine was too slow for the schedule, or the fleet was stopped; "
            "lower --rate-hz or --cameras, or give it more time: --drop-after-s"
        )
        reason = Reason(rule=Fate.DROPPED.value, found=facts.frames.dropped_at_source, limit=0, next=follow)
        yield Broken(reason, frozenset(facts.in_each("no results", "too few samples")))


def broker_away(facts: Facts) -> Found:
    """Want an MQTT broker that stays: one that dies forgets frames that it has confirmed, and takes none meanwhile."""
    cut_off, cameras = facts.cut_off
    if not cameras or cut_off < cameras:
        return
    gone = {Fate.UNBRIDGED.value, Fate.UNCONFIRMED.value, Fate.DROPPED.value}
    of_it = [one for one in facts.tiers if one.summary.missing and set(one.summary.missing_by_last_place) <= gone]
    if facts.frames.never_bridged or facts.frames.dropped_at_source or of_it:
        follow = (
            "all cameras lost their connection, so it was the broker that went: see its log; "
            "edgewise doctor --mqtt says whether it keeps what it has confirmed"
        )
        reason = Reason(rule=BROKER, found=facts.connections_lost, limit=0, unit="connections lost", next=follow)
        missing = {f"missing in {tier.name}" for tier in of_it}
        yield Broken(
            reason, frozenset({Fate.UNBRIDGED.value, Fate.DROPPED.value, LATE} | missing | facts.in_each(BACKLOG))
        )


def rejected_by_bridge(facts: Facts) -> Found:
    """Want no frame refused by the bridge."""
    if facts.frames.rejected:
        follow = "edgewise tail frames-rejected"
        reason = Reason(rule=REJECTED_BY_BRIDGE, found=facts.frames.rejected, limit=0, next=follow)
        all_of_it = facts.frames.rejected >= (facts.frames.never_bridged or 0)
        yield Broken(reason, frozenset({Fate.UNBRIDGED.value} if all_of_it else ()))


def rejected(facts: Facts) -> Found:
    """Want no frame refused by a tier."""
    for tier in facts.tiers:
        if count := tier.summary.rejected:
            reason = Reason(
                rule=f"rejected by {tier.name}", found=count, limit=0, next="see why: edgewise tail frames-rejected"
            )
            all_of_it = count >= tier.summary.missing
            yield Broken(reason, frozenset({f"missing in {tier.name}"} if all_of_it else ()))


def never_bridged(facts: Facts) -> Found:
    """Want all frames in Kafka: a tier that has them from MQTT answers them nevertheless."""
    if facts.frames.never_bridged:
        follow = "the bridge or the MQTT broker lost them: see the bridge's log, and edgewise tail frames-rejected"
        only = {Fate.UNBRIDGED.value}
        explains = {
            f"missing in {tier.name}" for tier in facts.tiers if set(tier.summary.missing_by_last_place) <= only
        }
        reason = Reason(rule=Fate.UNBRIDGED.value, found=facts.frames.never_bridged, limit=0, next=follow)
        yield Broken(reason, frozenset(explains))


def lost_results(facts: Facts) -> Found:
    """Want all answers that a tier accounts for: missing frames that it answered were lost after it."""
    for tier in facts.tiers:
        counted = tier.summary
        there = counted.results + counted.duplicates
        if counted.missing and tier.said is not None and tier.said >= there + counted.missing:
            follow = f"{tier.name} accounts for {tier.said:,} answers, and {there:,} were found: see Kafka's log"
            reason = Reason(rule=f"results lost after {tier.name}", found=tier.said - there, limit=0, next=follow)
            yield Broken(reason, frozenset({f"missing in {tier.name}"}))


def missing(facts: Facts) -> Found:
    """Want a result in each tier for every frame that was sent."""
    for tier in facts.tiers:
        counted = tier.summary
        if counted.missing:
            worst = max(counted.missing_by_last_place, key=counted.missing_by_last_place.__getitem__)
            follow = f"most were last seen: {worst}; the frames are in frames.parquet, column fate"
            reason = Reason(rule=f"missing in {tier.name}", found=counted.missing, limit=0, next=follow)
            yield Broken(reason, frozenset(() if tier.only_starved_miss else {f"{STARVED} in {tier.name}"}))
        elif len(tier.rows.due_ns) and not counted.results:
            follow = "no frame was sent, so none could be answered: see the reasons before"
            yield Broken(Reason(rule=f"no results in {tier.name}", found=0, limit="at least 1", next=follow))


def copies(facts: Facts) -> Found:
    """Want few copies: results come at least once, but that nearly all come twice is no crash."""
    for tier in facts.tiers:
        counted, share = tier.summary, facts.limits.copies_share
        if counted.results and counted.duplicates > share * counted.results:
            follow = (
                f"a crash makes some results of {tier.name} come twice, and not so many: "
                "see whether two of it answer the same frames"
            )
            reason = Reason(
                rule=f"duplicated results in {tier.name}",
                found=counted.duplicates,
                limit=int(share * counted.results),
                next=follow,
            )
            yield Broken(reason)


def too_few(facts: Facts) -> Found:
    """Want as many frames as were asked for."""
    for tier in facts.tiers:
        found = tier.summary.measured or 0
        if facts.frames.scheduled and found < facts.limits.samples:
            follow = "let the run go on for longer: more --frames"
            reason = Reason(
                rule=f"too few samples in {tier.name}", found=found, limit=facts.limits.samples, next=follow
            )
            yield Broken(reason)


def never_stable(facts: Facts) -> Found:
    """Want stability, of a run that was asked for it."""
    if facts.limits.stable and facts.warm_up is not None and not facts.warm_up.stable:
        yield Broken(_not_stable(facts))


RULES: Final[Sequence[Callable[[Facts], Found]]] = (
    *(no_plan, no_account, other_data, wrong_image, counted_twice, answered_others, different_models),
    *(clock_off, clocks, starving),
    *(
        broker_away,
        slow_ledger,
        backlog,
        late_generator,
        dropped,
        rejected_by_bridge,
        never_bridged,
        rejected,
        lost_results,
    ),
    *(missing, copies, too_few, never_stable),
)
"""In their order where none explains another."""


def remarks(facts: Facts) -> Iterator[Reason]:
    """Give what is worth knowing and makes no run INVALID."""
    needed = SAMPLES_NEEDED[99]
    for tier in facts.tiers:
        counted = tier.summary
        if counted.duplicates and counted.duplicates <= facts.limits.copies_share * counted.results:
            follow = "delivery is at least once; each frame counts once"
            yield Reason(rule=f"copies in {tier.name}", found=counted.duplicates, limit="counted once", next=follow)
        if facts.limits.samples <= (found := counted.measured or 0) < needed and facts.frames.scheduled:
            follow = "p99 is not stated; let the run go on for longer"
            yield Reason(rule=f"few samples in {tier.name}", found=found, limit=needed, next=follow)
        if tier.impossible is not None and tier.impossible.share <= facts.limits.clock_share:
            follow = f"counted, and in no median left out: {_listed(tier.impossible.by_step)}"
            yield Reason(
                rule=f"{CLOCK} in {tier.name}",
                found=round(tier.impossible.share * 100, 3),
                limit=facts.limits.clock_share * 100,
                unit="% of frames",
                next=follow,
            )
    if not facts.limits.stable and facts.warm_up is not None and not facts.warm_up.stable:
        yield _not_stable(facts)


def _not_stable(facts: Facts) -> Reason:
    lasted_s = facts.warm_up.lasted_s if facts.warm_up else 0.0
    follow = f"the first {lasted_s:.1f} s were taken for the warm-up"
    limit = f"within {facts.limits.stable_within * 100:.0f} %"
    return Reason(rule=WARM_UP, found="no three windows in a row agreed", limit=limit, next=follow)


def _listed(by_step: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in by_step.items())
