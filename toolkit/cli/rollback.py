"""`emergency-rollback`, which is also `toolkit rollback`: the playbook's options, and those that it lacked.

Owns the words. Without `--execute` a plan is shown, nothing is done, and the command that would do it is printed.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from toolkit.cli.options import Json, examples
from toolkit.cli.restore_words import Restoring
from toolkit.cli.rolling_back import (
    Asked,
    abort_rollback,
    back_up_only,
    resume_rollback,
    roll_back,
    show_status,
)

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

EMERGENCY_EXAMPLES = examples(
    "emergency-rollback --status-only --target sandbox",
    "emergency-rollback --last-stable --target sandbox",
    "emergency-rollback --migration-target=8 --target sandbox --execute",
    "emergency-rollback --app-rollback --target sandbox --execute",
    "emergency-rollback --backup-restore=newest --target sandbox --execute",
    "emergency-rollback --backup-restore=newest --damage damage.json --target sandbox",
    "emergency-rollback --full-emergency --target production --execute --confirm churn-saver",
    "emergency-rollback --resume --target sandbox --execute",
    "toolkit rollback --status-only --target sandbox",
)

NO_VERSION = "0"  # where a notebook names none


def emergency_rollback(
    status_only: Annotated[bool, typer.Option("--status-only", help="Look, and change nothing.")] = False,
    migration_target: Annotated[
        str | None,
        typer.Option("--migration-target", help="Type 1: go back to this version, as the migration tool calls it."),
    ] = None,
    last_stable: Annotated[
        bool, typer.Option("--last-stable", help="Type 1: go back to the last version at which all was verified.")
    ] = False,
    app_rollback: Annotated[
        str | None,
        typer.Option(
            "--app-rollback", metavar="[DEPLOYMENT]", help="Type 2: go back to a deployment, or the last one."
        ),
    ] = None,
    backup_restore: Annotated[
        str | None,
        typer.Option(
            "--backup-restore",
            metavar="FILE",
            help="Type 3: restore a backup or dump, the 'newest', or 'platform:TIME'.",
        ),
    ] = None,
    full_emergency: Annotated[bool, typer.Option("--full-emergency", help="Type 4: everything, step by step.")] = False,
    backup_only: Annotated[bool, typer.Option("--backup-only", help="Make a backup; roll nothing back.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a rollback that was begun.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Give a rollback up; lift the freeze.")] = False,
    target: TargetName = "",
    database_url_env: DatabaseUrlEnv = "",
    playbook: PlaybookPath = "",
    incident: IncidentFolder = None,
    operator: Operator = "responder",
    deployment: Deployment = None,
    breach: Breach = None,
    damage: Damage = None,
    damaged_at: DamagedAt = "",
    way: RestoreWay = None,
    rows_stay: RowsStay = None,
    freeze: Freeze = False,
    wanted_version: WantedVersion = None,
    execute: Execute = False,
    confirm: Confirm = "",
    no_rehearsal: NoRehearsal = "",
    rehearsal_budget: Budget = 300.0,
    take_over: TakeOver = "",
    end_blockers: EndBlockers = False,
    json: Json = False,
) -> None:
    """Roll the service back, as the playbook says. Choose one action; without --execute nothing is done.

    Exit code 0 done and verified, 1 failed, 2 wrong use, 3 done but not verified, 130 interrupted.
    """
    asked = Asked(
        target=target,
        database_url_env=database_url_env,
        playbook=playbook,
        incident=incident,
        operator=operator,
        execute=execute,
        confirm=confirm,
        no_rehearsal=no_rehearsal,
        rehearsal_budget_s=rehearsal_budget,
        take_over=take_over,
        end_blockers=end_blockers,
        json=json,
    )
    restoring = Restoring(damage, damaged_at, way, freeze, wanted_version)
    actions = {
        "--status-only": status_only,
        "--migration-target": migration_target is not None,
        "--last-stable": last_stable,
        "--app-rollback": app_rollback is not None,
        "--backup-restore": backup_restore is not None and not full_emergency,  # there it says which
        "--full-emergency": full_emergency,
        "--backup-only": backup_only,
        "--resume": resume,
        "--abort": abort,
    }
    action = _one(actions)
    _require_values({"--app-rollback": app_rollback, "--backup-restore": backup_restore})
    _require_values({"--deployment": deployment, "--breach": breach, "--rows-stay": rows_stay})
    _require_values({"--migration-target": "" if migration_target == NO_VERSION else migration_target})
    _require_heeded(
        action,
        {
            "--deployment": deployment is not None,
            "--breach": breach is not None,
            "--rows-stay": rows_stay is not None,
            "--damage": damage is not None,
            "--damaged-at": bool(damaged_at),
            "--way": way is not None,
            "--freeze": freeze,
            "--wanted-version": wanted_version is not None,
        },
    )
    match action:
        case "--status-only":
            show_status(asked)
        case "--backup-only":
            back_up_only(asked)
        case "--resume":
            resume_rollback(asked)
        case "--abort":
            abort_rollback(asked)
        case "--migration-target":
            roll_back(
                asked, migration_target=str(migration_target), deployment=deployment or "", rows_stay=rows_stay or ""
            )
        case "--last-stable":
            roll_back(asked, migration_target="last-stable", deployment=deployment or "", rows_stay=rows_stay or "")
        case "--app-rollback":
            roll_back(asked, deployment=app_rollback)
        case "--backup-restore":
            roll_back(asked, restoring, backup_restore=backup_restore)
        case "--full-emergency":
            named = {"backup_restore": backup_restore} if backup_restore is not None else {}
            named |= {"breach": breach or "", "rows_stay": rows_stay or ""}
            roll_back(asked, restoring, full_emergency=True, deployment=deployment or "", **named)


_RESTORES = ("--backup-restore", "--full-emergency")
_HEEDED = {
    "--deployment": ("--migration-target", "--last-stable", "--full-emergency"),
    "--breach": ("--full-emergency",),
    "--rows-stay": ("--migration-target", "--last-stable", "--full-emergency"),
    "--damage": _RESTORES,
    "--damaged-at": _RESTORES,
    "--way": _RESTORES,
    "--freeze": _RESTORES,
    "--wanted-version": _RESTORES,
}


def _require_values(given: dict[str, str | None]) -> None:
    """An empty value is an unset variable, and must not choose a backup or a deployment."""
    from toolkit.errors import UsageError

    if empty := [name for name, value in given.items() if value is not None and not value.strip()]:
        raise UsageError(
            f"{empty[0]} is empty, as of a variable that is not set",
            state="nothing was done",
            next=f"give {empty[0]} a value",
        )


def _require_heeded(action: str, given: dict[str, bool]) -> None:
    """What an action would not heed is refused rather than passed over."""
    from toolkit.errors import UsageError

    for name, actions in _HEEDED.items():
        if given[name] and action not in actions:
            raise UsageError(
                f"{name} means nothing with {action}",
                state="nothing was done",
                next=f"leave it out, or use it with {' or '.join(actions)}",
            )


def _one(actions: dict[str, bool]) -> str:
    from toolkit.errors import UsageError

    named = [name for name, given in actions.items() if given]
    if len(named) != 1:
        said = "No action was named" if not named else f"{' and '.join(named)} are different actions"
        raise UsageError(said, state="nothing was done", next=f"name one of {', '.join(actions)}")
    return named[0]
