"""One line of the doctor's report."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Check(BaseModel):
    """One thing that was looked at."""

    model_config = ConfigDict(frozen=True)

    name: str
    """What was looked at."""
    state: Literal["ok", "missing", "optional"]
    """``missing`` must be mended; ``optional`` is absent and does without, or comes by itself when it is needed."""
    found: str
    """What was found, with the value."""
    mend: str = ""
    """What to do about it; empty when nothing needs to be done."""


def required(name: str, *, good: bool, found: str, mend: str) -> Check:
    """Make a check that fails when it is not good."""
    return Check(name=name, state="ok" if good else "missing", found=found, mend="" if good else mend)


def optional(name: str, *, good: bool, found: str, mend: str) -> Check:
    """Make a check that is only mentioned when it is not good."""
    return Check(name=name, state="ok" if good else "optional", found=found, mend="" if good else mend)
