"""What commands share that change something on a target beside a plan: the confirmation, the lease, the journal.

A dry run needs none of it. With --execute an incident's folder is named, for its journal says first what is to be done.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.cli.options import print_json

if TYPE_CHECKING:
    from toolkit.adapters.systems import Systems
    from toolkit.incident import Incident
    from toolkit.rollback.lease import Lease
    from toolkit.rollback.steps import Surroundings

TargetName = Annotated[str, typer.Option("--target", help="A target of the playbook; without it, TOOLKIT_TARGET.")]
PlaybookPath = Annotated[str, typer.Option("--playbook", help="The playbook of the service.")]
IncidentFolder = Annotated[
    Path | None, typer.Option("--incident", help="The incident's folder, whose journal it goes to.")
]
Operator = Annotated[str, typer.Option("--operator", help="Who does it, as a role.")]
Execute = Annotated[bool, typer.Option("--execute", help="Do it. Without it nothing is done.")]
Confirm = Annotated[str, typer.Option("--confirm", help="The service's name; production wants it with --execute.")]


@dataclass(frozen=True)
class Act:
    """One of them: what is wanted, and the command that would do it."""

    target: str
    playbook: str
    incident: Path | None
    operator: str
    confirm: str
    command: tuple[str, ...]

    def systems(self) -> "Systems":
        """Only the database of the target is needed."""
        return database_of(self.target, self.playbook)

    @contextmanager
    def begun(self, systems: "Systems", kind: str, what: str, **data: object) -> "Iterator[tuple[Incident, Lease]]":
        """Confirmed, alone, and journaled before it is done. Raises UsageError, RollbackError, DatabaseError."""
        from toolkit.errors import UsageError
        from toolkit.incident import Incident
        from toolkit.rollback.lease import Lease
        from toolkit.rollback.runner import require_confirmed

        require_confirmed(systems, self._confirmation(systems))
        if self.incident is None:
            raise UsageError(
                "Which incident is this for?",
                state="nothing was done",
                next="name its folder, whose journal keeps what is done: --incident FOLDER",
            )
        incident = Incident.at(self.incident)
        incident.journal.entries()
        systems.database.prepare()
        lease = Lease.acquire(systems.database, incident=incident.id, plan=what, holder=self.operator)
        with lease.keep():
            try:
                incident.record(f"{kind}.begun", {"what": what, **data}, actor=self.operator)
                yield incident, lease
            finally:
                lease.release()

    def around(self, systems: "Systems", incident: "Incident", lease: "Lease") -> "Surroundings":
        """What a step of a plan is done with, for what a step could do too."""
        from toolkit.rollback.blocking import Patience
        from toolkit.rollback.plan import Plan
        from toolkit.rollback.steps import Surroundings

        plan = Plan("restore", systems.playbook.service.name, systems.target.name, None, " ".join(self.command), ())
        return Surroundings(
            plan,
            systems,
            incident,
            Patience(),
            lambda kind, data: _record(incident, kind, data, self.operator),
            fence=lease,
        )

    def told_dry(self, what: str, *, json: bool, **told: object) -> None:
        """That nothing was done, and what would do it."""
        import shlex

        words = [*self.command, *(["--target", self.target] if self.target else [])]
        words += ["--playbook", self.playbook] if self.playbook else []
        words += ["--incident", str(self.incident) if self.incident else "FOLDER", "--execute"]
        command = shlex.join(words)
        if json:
            print_json({"executed": False, "what": what, "command": command, **told})
        else:
            typer.echo(f"Would be done: {what}. Nothing was. To do it:\n  {command}")

    def _confirmation(self, systems: "Systems") -> str | None:
        if self.confirm or not systems.target.production or not sys.stdin.isatty():
            return self.confirm or None
        service = systems.playbook.service.name
        return str(typer.prompt(f"This is production. Type the service's name ({service}) to go on"))


def _record(incident: "Incident", kind: str, data: Mapping[str, Any], actor: str) -> None:
    incident.record(kind, data, actor=actor)


def database_of(target: str, playbook: str) -> "Systems":
    """A target of which only the database is asked."""
    from toolkit.adapters.systems import connect
    from toolkit.playbook import load_playbook

    book = load_playbook(playbook or None)
    return connect(book, book.target(target or None, database_only=True))
