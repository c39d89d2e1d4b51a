"""The first line of every notebook: which incident, which target, who. From then on the notebook has a desk to work at.

It resolves names to systems, journals that the notebook began, and says at the top where one is. It decides nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolkit.adapters.systems import Systems, connect
from toolkit.clock import utc_now
from toolkit.communicate.reminding import next_due
from toolkit.errors import DatabaseError, UsageError
from toolkit.incident import Incident, State
from toolkit.notebook.display import banner
from toolkit.notebook.parameters import require_declared_parameters
from toolkit.playbook import load_playbook


@dataclass(frozen=True)
class Desk:
    """One notebook at work: on an incident, against a target, by somebody."""

    notebook: str
    incident: Incident
    systems: Systems
    operator: str

    def acknowledge(self, why: str = "somebody looks at it") -> None:
        """Tell that somebody has taken it. Once; later calls change nothing."""
        self.incident.advance(State.ACKNOWLEDGED, why, actor=self.operator)

    def decide(self, what: str, why: str) -> None:
        """Journal the decision about the rollback, with its reason and who took it."""
        decided = {"about": "rollback", "what": what, "why": why, "by": self.operator}
        self.incident.record("decision.made", decided, actor=self.operator)

    def keep_head(self) -> None:
        """Keep on the target how far the journal has come. A target that is down does not stop the work."""
        try:
            self.systems.database.keep_head(self.incident.id, self.incident.journal.head())
        except DatabaseError as error:
            self.incident.record("journal.head_not_kept", {"error": error.what}, actor=self.operator)


def open_desk(
    notebook: str,
    *,
    incident: str,
    target: str,
    playbook: str = "",
    operator: str = "responder",
    without_incident: str = "",
    begun: Callable[[Systems, Path], Incident] | None = None,
) -> Desk:
    """Start a notebook. `incident` is a folder; `target` a name in the playbook, '' for the one TOOLKIT_TARGET names.

    A notebook that also serves on a good day gives `without_incident`: the folder under reports/ in which a new one is
    made when no incident is named. One that goes on with what was begun gives `begun`, which then finds the incident by
    what the target holds; it is given the systems, and where incidents are. Raises UsageError for whatever does not
    exist or is not set, and for a parameter that the notebook does not declare, before anything is touched.
    """
    require_declared_parameters()
    book = load_playbook(playbook or None)
    systems = connect(book, book.target(target or None))
    if without_incident and not incident:
        folder = book.folder / "reports" / without_incident / f"{utc_now():%Y%m%dT%H%M%SZ}-{systems.target.name}"
        folder.mkdir(parents=True)
        found = Incident(folder)
    elif incident:
        found = Incident.at(Path(incident))
    elif begun is not None:
        found = begun(systems, book.folder / "reports" / "incidents")
    else:
        raise UsageError("No incident was named", next="give its folder; toolkit declare opens one")
    desk = Desk(notebook, found, systems, operator)
    desk.incident.record("notebook.started", {"notebook": notebook, "target": systems.target.name}, actor=operator)
    state, severity = desk.incident.state, desk.incident.severity
    opened = desk.incident.moment(State.OPEN)
    banner(
        service=book.service.title,
        target=systems.target.name,
        production=systems.target.production,
        incident=desk.incident.id,
        state=str(state or "not opened"),
        severity=str(severity or "none"),
        running_s=(utc_now() - opened).total_seconds() if opened else None,
        next_update=next_due(book, desk.incident),
    )
    return desk
