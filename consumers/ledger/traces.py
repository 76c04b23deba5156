"""The way of the frames that are followed, as spans: what the ledger sees of them is all there is to know.

Cameras name the trace, the bridge passes the name on, and every stage leaves its moment in
the result, as it does for all frames. So one place makes the spans, in the stages of the report.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from consumers.ledger.collect import NEVER, Collected, FrameKey
from consumers.ledger.kept import NONE, Kept
from consumers.ledger.summary import STAGES
from edgewise.messages import Tier
from edgewise.otlp import Kind, Span, Writer
from edgewise.tracing import Context, span_id

Row = Mapping[str, int]
"""What is kept of one record, by its columns."""
(SOURCE, *_), *LATER = STAGES
SAID: Final = ("batch", "label")
"""Numbers of a result that its span tells."""
Facts = Mapping[str, str | int]
NOTHING: Final[Facts] = {}


class Traces:
    """Frames that are followed, until each is written: when all tiers have answered that owe it, or at the end."""

    def __init__(self, collected: Collected, *, tiers: Sequence[Tier], out: Writer) -> None:
        self._collected, self._tiers, self._out = collected, tiers, out
        self._open: dict[FrameKey, Context] = {}
        collected.trace = self._open.setdefault

    def fold(self) -> None:
        """Write what has come to its end since."""
        # Of tiers that share the frames one answers each.
        wanted = len(self._tiers) if self._collected.split_seed is None else 1
        firsts = [self._collected.tiers[tier].first for tier in self._tiers]
        self._write([key for key in self._open if sum(first.row(*key) != NONE for first in firsts) >= wanted])

    def end(self) -> None:
        """Write the rest, as far as it came."""
        self._write(list(self._open))

    def _answers(self, key: FrameKey) -> dict[Tier, Row]:
        found = {tier: _row(self._collected.tiers[tier].first, key) for tier in self._tiers}
        return {tier: row for tier, row in found.items() if row is not None}

    def _write(self, keys: Sequence[FrameKey]) -> None:
        spans = [span for key in keys for span in self._spans(key, self._open.pop(key))]
        if spans:
            self._out.write(spans)

    def _spans(self, key: FrameKey, context: Context) -> Iterator[Span]:
        answers, bridged, made = self._answers(key), _row(self._collected.bridged, key), _Trace(context)
        assert bridged is not None  # noqa: S101 - its record carried the context
        begins_ns = min([bridged["sent_ns"], *(row["due_ns"] for row in answers.values())])
        ends_ns = max([bridged["appended_ns"], *(row["seen_ns"] for row in answers.values())])
        facts: Facts = {"edgewise.run": self._collected.run, "edgewise.camera": key[0], "edgewise.number": key[1]}
        first = made.step("fleet", "frame", between_ns=(begins_ns, ends_ns), kind=Kind.PRODUCER, facts=facts)
        yield replace(first, id=made.whole, parent="", error=self._error(answers))
        if answers:  # without one nobody knows when the frame was due
            yield made.step("fleet", SOURCE, between_ns=(begins_ns, bridged["sent_ns"]))
        if bridged["bridged_ns"] != NEVER:
            moments_ns = (bridged["bridged_ns"], bridged["appended_ns"])
            yield made.step("bridge", "bridge", between_ns=moments_ns, kind=Kind.CONSUMER)
        for tier, row in answers.items():
            words = self._collected.tiers[tier].words
            facts = {f"edgewise.{name}": one.words()[row[name]] for name, one in words.items()}
            facts = {**facts, **{f"edgewise.{name}": row[name] for name in SAID}}
            moments_ns = (row[LATER[0][1]], row[LATER[-1][2]])
            yield made.step(tier, tier, between_ns=moments_ns, kind=Kind.CONSUMER, facts=facts)
            for stage, begins, ends in LATER:
                yield made.step(tier, tier, stage, between_ns=(row[begins], row[ends]))

    def _error(self, answers: Mapping[Tier, Row]) -> str:
        """Say what is missing; of tiers that share the frames nothing is, where one has answered."""
        missing = [tier for tier in self._tiers if tier not in answers]
        shared = self._collected.split_seed is not None
        return "" if not missing or (shared and answers) else f"no result from {' and '.join(missing)}"


def _row(kept: Kept, key: FrameKey) -> Row | None:
    """Give what is kept of a frame's record; None if there is none."""
    return None if (row := kept.row(*key)) == NONE else kept.of(row)


class _Trace:
    """Makes the spans of one trace."""

    def __init__(self, context: Context) -> None:
        self._trace, self.whole = context

    def step(
        self,
        service: str,
        *names: str,
        between_ns: tuple[int, int],
        kind: Kind = Kind.INTERNAL,
        facts: Facts = NOTHING,
    ) -> Span:
        """Give a span that is called by the last of its names, inside the one of the names before it."""
        return Span(
            service=service,
            name=names[-1],
            trace=self._trace,
            id=span_id(self._trace, *names),
            parent=span_id(self._trace, *names[:-1]) if names[:-1] else self.whole,
            start_ns=between_ns[0],
            end_ns=between_ns[1],
            kind=kind,
            facts=facts,
        )
