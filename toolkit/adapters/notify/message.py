"""What senders are given, what they give back, and what they say when it was not sent."""

from dataclasses import dataclass
from typing import Protocol

from toolkit.errors import ToolkitError

TIMEOUT_S = 8.0  # of one attempt, in seconds; whoever calls bounds it once more


@dataclass(frozen=True)
class Outgoing:
    """One message for one audience. `id` is the same for every attempt at it; `incident` names what it belongs to.

    `severity`, `status` and `event` are words of the provider: PagerDuty's severity and event action, Statuspage's
    status. `reference` is what the provider gave for an earlier message of this incident: its incident's id.
    """

    id: str
    incident: str
    to: tuple[str, ...]
    subject: str
    text: str
    status: str = ""
    severity: str = ""
    event: str = ""
    reference: str = ""


@dataclass(frozen=True)
class Receipt:
    """What the provider calls it. `again`: it had been there already."""

    reference: str
    again: bool = False


class NotSent(ToolkitError):
    """It was not sent, or nobody can tell.

    `again`: another attempt may succeed, after `after_s` seconds where the provider said so. `in_doubt`: it may have
    been sent all the same, so another attempt may send it twice.
    """

    def __init__(self, what: str, *, again: bool = False, after_s: float | None = None, in_doubt: bool = False) -> None:
        super().__init__(what)
        self.again, self.after_s, self.in_doubt = again, after_s, in_doubt

    def _said(self) -> dict[str, object]:  # type: ignore[override]
        return {"again": self.again, "after_s": self.after_s, "in_doubt": self.in_doubt}


class Sender(Protocol):
    """`sends_twice_safely`: the provider takes the same message twice for one."""

    sends_twice_safely: bool

    def send(self, message: Outgoing) -> Receipt:
        """Once. Raises NotSent."""

    def look(self, message: Outgoing) -> Receipt | None:
        """Whether it is there already; None when it is not. Raises NotSent when the provider cannot tell."""
