"""What cameras have done so far: counted once, for whoever watches, scrapes, or writes the account."""

from dataclasses import dataclass, field, fields
from typing import Final

from edgewise.metrics import LATENESS_SECONDS, Histogram

BOTTLENECK_SHARE: Final = 0.01
"""Of the frames that were due, that may be late: as many as the 99th percentile lets be."""


@dataclass(slots=True)
class Tally:
    """The cameras of one group, or of several, as far as a process drives them."""

    connected: int = 0
    scheduled: int = 0
    due: int = 0
    """Frames whose moment has come."""
    overdue: int = 0
    """Of them, those that this machine was too late for, whether there was a way out or not."""
    sent: int = 0
    late: int = 0
    """Of them, those first sent more than LATE_NS after they were due, whatever they waited for."""
    confirmed: int = 0
    unheard: int = 0
    refused: int = 0
    dropped: int = 0
    given_up: int = 0
    """Of them, those that had time left: somebody asked to stop, or another client has their camera's session."""
    connections_lost: int = 0
    cameras_cut_off: int = 0
    """That lost theirs."""
    sent_bytes: int = 0
    """Copies too."""
    lateness: Histogram = field(default_factory=lambda: Histogram(LATENESS_SECONDS))
    """Of each frame when it was first sent."""

    def __add__(self, other: "Tally") -> "Tally":
        """Add another group's, or another process'."""
        return Tally(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def counts(self) -> dict[str, int]:
        """Give what stands in the account."""
        return {
            "scheduled": self.scheduled,
            "sent": self.sent,
            "confirmed": self.confirmed,
            "unheard": self.unheard,
            "refused": self.refused,
            "dropped_at_source": self.dropped,
            "connections_lost": self.connections_lost,
            "cameras_cut_off": self.cameras_cut_off,
        }

    def bottleneck(self) -> tuple[bool, str]:
        """Say whether the cameras themselves kept frames from leaving in time, and why; or what else did."""
        if self.overdue > BOTTLENECK_SHARE * self.due:
            return True, f"{self.overdue:,} of {self.due:,} frames had their turn too late: this machine was too slow"
        held = self.late + self.dropped - self.given_up - self.overdue
        if held > BOTTLENECK_SHARE * self.due:
            return False, (
                f"{held:,} of {self.due:,} frames left late or were dropped, as they waited for the MQTT broker: "
                "for an answer that makes room in the window, or for a connection"
            )
        return False, ""
