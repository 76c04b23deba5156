"""One run of several: what it came to, or what ended it; and what ended them all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from compare.runs import steadiness
from edgewise.errors import EdgewiseError, PartDiedError
from edgewise.summary import Reason, Summary

UNFINISHED: Final = Reason(
    rule="not finished",
    found="ended from outside, or still under way",
    limit="runs to its end",
    next="what was done until then stands here; for an answer run it again",
)


@dataclass(frozen=True, slots=True)
class Ran:
    """One run."""

    folder: str
    """Its name, inside the whole's."""
    tiers: tuple[str, ...]
    summary: Summary | None
    """None where a part died so early that nothing was counted."""
    died: Reason | None = None
    """That part, then."""
    frames: Callable[[], pa.Table | None] = lambda: None
    """Reads its per-frame table; None where there is none."""

    @property
    def verdict(self) -> Literal["VALID", "INVALID"]:
        """Say whether its figures may be used."""
        return "INVALID" if self.summary is None else self.summary.verdict

    @property
    def reasons(self) -> list[Reason]:
        """Say why it is INVALID."""
        return [one for one in (self.died,) if one] if self.summary is None else self.summary.reasons

    @property
    def unsteady(self) -> bool:
        """Say whether the machine was unsteady meanwhile."""
        return self.summary is not None and steadiness.unsteady(self.summary.steadiness)


def death(died: PartDiedError, consequences: Sequence[Reason] = ()) -> Reason:
    """Say which part died."""
    return Reason(
        rule=f"{died.part} died",
        found=f"exit code {died.code}",
        limit="runs to the end",
        next=f"see its log, {died.log}",
        said=died.last_words,
        consequences=list(consequences),
    )


def ended_by(error: EdgewiseError) -> Reason:
    """Say what ended the runs before their end."""
    return Reason(rule="ended early", found=str(error), limit="runs to its end", next="mend that and run it again")
