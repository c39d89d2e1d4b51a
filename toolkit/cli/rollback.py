"""`emergency-rollback`, which is also `toolkit rollback`: the playbook's options, and those that it lacked.

Owns what the words mean together. Without `--execute` a plan is shown, nothing is done, and the command that would do
it is printed.
"""

from dataclasses import dataclass, replace
from typing import Any

from toolkit.cli import rollback_options as option
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
    status_only: option.StatusOnly = False,
    migration_target: option.MigrationTarget = None,
    last_stable: option.LastStable = False,
    app_rollback: option.AppRollback = None,
    backup_restore: option.BackupRestore = None,
    full_emergency: option.FullEmergency = False,
    backup_only: option.BackupOnly = False,
    resume: option.Resume = False,
    abort: option.Abort = False,
    target: option.TargetName = "",
    database_url_env: option.DatabaseUrlEnv = "",
    playbook: option.PlaybookPath = "",
    incident: option.IncidentFolder = None,
    operator: option.Operator = "responder",
    deployment: option.Deployment = None,
    breach: option.Breach = None,
    damage: option.Damage = None,
    damaged_at: option.DamagedAt = "",
    way: option.RestoreWay = None,
    rows_stay: option.RowsStay = None,
    freeze: option.Freeze = False,
    wanted_version: option.WantedVersion = None,
    execute: option.Execute = False,
    confirm: option.Confirm = "",
    no_rehearsal: option.NoRehearsal = "",
    rehearsal_budget: option.Budget = 300.0,
    take_over: option.TakeOver = "",
    end_blockers: option.EndBlockers = False,
    override: option.Override = "",
    json: Json = False,
) -> None:
    """Roll the service back, as the playbook says. Choose one action; without --execute nothing is done.

    Exit code 0 done and verified, 1 failed, 2 wrong use, 3 done but not verified, 130 interrupted.
    """
    asked = Asked(target, database_url_env, playbook, incident, operator, execute, confirm, no_rehearsal)
    asked = replace(
        asked,
        rehearsal_budget_s=rehearsal_budget,
        take_over=take_over,
        end_blockers=end_blockers,
        override=override,
        json=json,
    )
    restoring = Restoring(damage, damaged_at, way, freeze, wanted_version)
    named = _Named(migration_target, app_rollback, backup_restore, deployment, breach, rows_stay)
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
    named.require()
    _require_heeded(action, named.given() | restoring.given())
    _do(action, asked, restoring, named)


@dataclass(frozen=True)
class _Named:
    """What the options name; None where one was not given."""

    migration_target: str | None
    app_rollback: str | None
    backup_restore: str | None
    deployment: str | None
    breach: str | None
    rows_stay: str | None

    def require(self) -> None:
        """UsageError for an empty one, and for version 0, which names none."""
        _require_values({"--app-rollback": self.app_rollback, "--backup-restore": self.backup_restore})
        _require_values({"--deployment": self.deployment, "--breach": self.breach, "--rows-stay": self.rows_stay})
        _require_values({"--migration-target": "" if self.migration_target == NO_VERSION else self.migration_target})

    def given(self) -> dict[str, bool]:
        """Of those that go with some actions only, which were given."""
        told = {"--deployment": self.deployment, "--breach": self.breach, "--rows-stay": self.rows_stay}
        return {name: value is not None for name, value in told.items()}


def _do(action: str, asked: Asked, restoring: Restoring, named: _Named) -> None:
    beside: dict[str, Any] = {"deployment": named.deployment or "", "rows_stay": named.rows_stay or ""}
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
            roll_back(asked, migration_target=str(named.migration_target), **beside)
        case "--last-stable":
            roll_back(asked, migration_target="last-stable", **beside)
        case "--app-rollback":
            roll_back(asked, deployment=named.app_rollback)
        case "--backup-restore":
            roll_back(asked, restoring, backup_restore=named.backup_restore)
        case "--full-emergency":
            backup = {} if named.backup_restore is None else {"backup_restore": named.backup_restore}
            roll_back(asked, restoring, full_emergency=True, breach=named.breach or "", **beside, **backup)


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
