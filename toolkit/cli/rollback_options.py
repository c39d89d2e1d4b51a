"""The options of a rollback, each with what it says of itself. Only declared here; what they mean is in `rollback`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

# What to do: one of them

StatusOnly = Annotated[bool, typer.Option("--status-only", help="Look, and change nothing.")]
MigrationTarget = Annotated[
    str | None,
    typer.Option("--migration-target", help="Type 1: go back to this version, as the migration tool calls it."),
]
LastStable = Annotated[
    bool, typer.Option("--last-stable", help="Type 1: go back to the last version at which all was verified.")
]
AppRollback = Annotated[
    str | None,
    typer.Option("--app-rollback", metavar="[DEPLOYMENT]", help="Type 2: go back to a deployment, or the last one."),
]
BackupRestore = Annotated[
    str | None,
    typer.Option(
        "--backup-restore",
        metavar="FILE",
        help="Type 3: restore a backup or dump, the 'newest', or 'platform:TIME'.",
    ),
]
FullEmergency = Annotated[bool, typer.Option("--full-emergency", help="Type 4: everything, step by step.")]
BackupOnly = Annotated[bool, typer.Option("--backup-only", help="Make a backup; roll nothing back.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a rollback that was begun.")]
Abort = Annotated[bool, typer.Option("--abort", help="Give a rollback up; lift the freeze.")]

# On what, and how

TargetName = Annotated[str, typer.Option("--target", help="A target of the playbook; without it, TOOLKIT_TARGET.")]
DatabaseUrlEnv = Annotated[
    str, typer.Option("--database-url-env", help="Another variable that holds the database URL than the playbook's.")
]
PlaybookPath = Annotated[str, typer.Option("--playbook", help="The playbook of the service.")]
IncidentFolder = Annotated[
    Path | None, typer.Option("--incident", help="The incident's folder; without it, a new one is made with --execute.")
]
Operator = Annotated[str, typer.Option("--operator", help="Who does it, as a role.")]
Execute = Annotated[bool, typer.Option("--execute", help="Do it. Without it the plan is shown and nothing is done.")]
Confirm = Annotated[str, typer.Option("--confirm", help="The service's name; production wants it with --execute.")]
NoRehearsal = Annotated[str, typer.Option("--no-rehearsal", help="Why the plan is not tried on a copy first.")]
Budget = Annotated[float, typer.Option("--rehearsal-budget", min=1, help="Seconds that a rehearsal may take.")]
TakeOver = Annotated[str, typer.Option("--take-over", help="Why the lease is taken from somebody who holds it.")]
Override = Annotated[
    str, typer.Option("--override", help="Why blocking items of the checklist that are open may stay so.")
]
EndBlockers = Annotated[
    bool, typer.Option("--end-blockers", help="End the fewest sessions that are in the way of a lock.")
]
Deployment = Annotated[
    str | None, typer.Option("--deployment", help="The deployment to go to; without it, one that fits.")
]
Breach = Annotated[
    str | None, typer.Option("--breach", help="A security breach, in a sentence: all other sessions are ended.")
]

Damage = Annotated[
    Path | None,
    typer.Option("--damage", help="The restore's file: what is damage. A dry run writes it where there is none."),
]
DamagedAt = Annotated[str, typer.Option("--damaged-at", help="When the damage began, as 2026-11-25T12:00Z.")]
RestoreWay = Annotated[
    Literal["schemas", "databases", "reload"] | None,
    typer.Option("--way", help="How the copy comes in; without it, the first that fits."),
]
Freeze = Annotated[bool, typer.Option("--freeze", help="Writes stay stopped for the whole of a restore.")]
WantedVersion = Annotated[
    int | None, typer.Option("--wanted-version", min=1, help="The schema that a restore ends at; else the last stable.")
]
RowsStay = Annotated[
    str | None,
    typer.Option("--rows-stay", help="Why rows that a half-applied migration changed may stay so when it is undone."),
]
