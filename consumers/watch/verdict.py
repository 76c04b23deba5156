"""The verdict of a run that has ended: the ledger's, from the run's folder."""

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from consumers.watch.look import Verdict
from edgewise.clock import SECOND_NS
from edgewise.summary import Reason, Summary

SUMMARY: Final = "summary.json"
PAGE: Final = "report.html"
SETTLED_S: Final = 3.0
"""A comparison run completes the ledger's summary: one that has not changed for so long stays as it is."""


def folder_of(run: str, *, runs: Path, report: Path | None) -> Path | None:
    """Give a run's folder: the one that was named, else the one of its name, alone or inside its comparison's.

    None if there is none, and for a name that would lead elsewhere.
    """
    if report is not None:
        return report
    if not run or run != Path(run).name or run in {".", ".."}:
        return None
    wholes = [whole for whole in runs.glob("*") if run.startswith(f"{whole.name}-")]
    try:
        return next((place for place in (runs / run, *(whole / run for whole in wholes)) if place.is_dir()), None)
    except OSError:  # a name that no folder can have
        return None


def read(run: str, folder: Path | None, *, since_ns: int) -> Verdict | None:
    """Read what a run came to, which began at ``since_ns``; None while there is nothing but what is another run's."""
    if folder is None:
        return None
    try:
        if (folder / SUMMARY).stat().st_mtime_ns < since_ns:
            return None
        found = Summary.model_validate_json((folder / SUMMARY).read_bytes())
    except (OSError, ValidationError):
        return None  # not written yet, or not whole
    if found.run != run:
        return None
    page = (folder / PAGE).is_file()
    return Verdict(found.verdict, [_said(reason) for reason in found.reasons], str(folder), page)


def settled(folder: Path, *, wall_ns: int) -> bool:
    """Say whether a folder's summary has not changed for a while."""
    try:
        return wall_ns - (folder / SUMMARY).stat().st_mtime_ns > SETTLED_S * SECOND_NS
    except OSError:
        return False


def _said(reason: Reason) -> str:
    unit = f" {reason.unit}" if reason.unit else ""
    return f"{reason.rule}: {reason.found}{unit} (limit {reason.limit}{unit}); {reason.next}"
