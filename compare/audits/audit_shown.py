"""An audit for people: the verdict first, then each check with what was found, its limit and a next step."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from compare.audits.audit import Audit
from compare.audits.audit_checks import Finding
from edgewise import show

COLOURS: Final = {"PASSED": "green", "FAILED": "red"}


def rendered(audit: Audit) -> RenderableType:
    """Lay an audit out for the terminal."""
    head = Text.assemble((f" {audit.verdict} ", f"bold white on {COLOURS[audit.verdict]}"), f"  audit of {audit.run}")
    table = show.grid("check", "result", "found", "limit", numbers=())
    for one in audit.findings:
        table.add_row(one.check, one.state, one.found, one.limit)
    return Group(head, Text(), table, *(line for one in audit.findings for line in _follow(one)))


def _follow(finding: Finding) -> Iterator[RenderableType]:
    """Say what to do about a check that did not pass, and which frames differ."""
    if finding.next:
        yield Text(f"{finding.check}, {finding.state}: {finding.next}")
    yield from (Padding(Text(frame), (0, 0, 0, 2)) for frame in finding.frames)


def show_audit(audit: Audit, *, as_json: bool) -> None:
    """Print an audit on stdout."""
    if as_json:
        show.text(audit.model_dump_json())
    else:
        show.table(rendered(audit))
