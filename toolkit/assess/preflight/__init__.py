"""Everything that would make tonight's rollback fail, found today: each a check with what to do about it.

access      credentials and rights, each tried without an effect; the line, the programs, the disk
standby     what must lie ready: a stable point, a deployment to go back to, backups, drills, people
practice    a scratch server like production's, and the newest downs, run on it

It changes nothing on the target: what is tried there is rolled back.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial as do
from pathlib import Path

from toolkit.adapters.postgres import ServerIdentity
from toolkit.adapters.systems import Systems
from toolkit.assess.preflight import access, practice, standby
from toolkit.checks import Check, CheckResult, Finding, run_check, unknown
from toolkit.clock import utc_now
from toolkit.errors import ToolkitError
from toolkit.rollback.scratch import Scratch, scratch_server

Scratching = Callable[[ServerIdentity | None], AbstractContextManager[Scratch]]


@dataclass(frozen=True)
class Asked:
    """One thing to look at, and the command that mends it."""

    name: str
    area: str
    look: Callable[[], Finding]
    next: str


@dataclass(frozen=True)
class Readiness:
    """What came of one. `next` is what to do about it; '' where it passed."""

    result: CheckResult
    next: str

    def row(self) -> dict[str, str]:
        """For a table."""
        found = self.result
        return {"what": found.name, "outcome": found.outcome.value, "evidence": found.evidence, "next": self.next}


def preflight(
    systems: Systems, reports: Path, *, now: datetime | None = None, scratch: Scratching = scratch_server
) -> list[Readiness]:
    """Look at all of it, one after the other. Raises nothing. `reports` holds drills and incidents.

    It starts a server on this machine, and takes some seconds; more where there are many migrations.
    """
    at = now or utc_now()
    asked = [*_access(systems, reports), *_standby(systems, reports, at), *_tried(systems, scratch)]
    return [_looked(each) for each in asked]


def _access(systems: Systems, reports: Path) -> Sequence[Asked]:
    where = f"--target {systems.target.name}"
    return [
        Asked("settings", "access", do(access.settings, systems), "export what is named, then repeat"),
        Asked("database answers", "access", do(access.database, systems), f"toolkit status {where}"),
        Asked("direct connection", "access", do(access.direct, systems), "use the direct database URL"),
        Asked("rights on the tables", "access", do(access.ownership, systems), "GRANT the owner's role to ours"),
        Asked("right to make schemas", "access", do(access.creating, systems), "GRANT CREATE ON DATABASE"),
        Asked("sees other sessions", "access", do(access.monitoring, systems), "GRANT pg_monitor to our role"),
        Asked("platform takes our token", "access", do(access.platform, systems), "make a new token, export it"),
        Asked("service answers", "access", do(access.service, systems), "look at the deployment: toolkit assess"),
        Asked("programs", "access", do(access.programs, systems), "install them, or set PG_BINDIR"),
        Asked("disk", "access", do(access.disk, systems, reports), "free space, or name another backups folder"),
    ]


def _standby(systems: Systems, reports: Path, now: datetime) -> Sequence[Asked]:
    where = f"--target {systems.target.name}"
    kept = do(standby.backups, systems, reports)
    return [
        Asked("stable point", "standby", do(standby.stable_point, systems), "04_verify with vouch set"),
        Asked("deployment to go back to", "standby", do(standby.earlier_deployment, systems), "deploy once more"),
        Asked("no rollback is unfinished", "standby", do(standby.nothing_begun, systems), f"--resume {where}"),
        Asked(
            "fresh backup", "standby", lambda: standby.fresh(kept(), now), f"emergency-rollback --backup-only {where}"
        ),
        Asked(
            "restored backup", "standby", lambda: standby.restored(kept(), now), "toolkit backup verify DIR --restore"
        ),
        Asked("last drill", "standby", do(standby.last_drill, systems, reports, now), "toolkit drill run SCENARIO"),
        Asked("contacts", "standby", do(standby.contacts, systems, now), "toolkit playbook check"),
    ]


def _tried(systems: Systems, scratch: Scratching) -> Sequence[Asked]:
    return [
        Asked("every migration has a down", "practice", do(practice.downs, systems), "write it, or plan a restore"),
        Asked(
            "scratch server",
            "practice",
            do(practice.server, systems, scratch),
            "install that PostgreSQL with the extensions, and set PG_BINDIR_<major>",
        ),
        Asked("newest downs, run", "practice", do(practice.run_downs, systems, scratch), "mend the down"),
    ]


def _looked(asked: Asked) -> Readiness:
    def look() -> Finding:
        try:
            return asked.look()
        except ToolkitError as error:
            return unknown(error.what)

    result = run_check(Check(asked.name, asked.area, look))
    return Readiness(result, "" if result.outcome == "pass" else asked.next)
