"""A target to back up and roll back: a real database with the service's schema, the platform's stand-in, an incident.

Also a program: `python rollback_rig.py INCIDENT MIGRATIONS STOP_AT` carries the plan for version 8 out and, where
STOP_AT says so, kills itself with SIGKILL, before or after an entry is written.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from stand_in import StandIn

from toolkit.adapters.systems import Systems, connect
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import MIGRATIONS, migrate_up, seed
from toolkit.incident import Incident
from toolkit.journal import Entry, Journal
from toolkit.playbook import load_playbook
from toolkit.rollback import carry_out, rollback_plan
from toolkit.rollback.backup import make_backup
from toolkit.rollback.plan import Plan

BUILDS = (6, 7, 8, 9)
ROOT = Path(__file__).parents[2]
PEOPLES = {"pre.impact": "Impact assessed", "pre.stakeholders": "Stakeholders notified"}
UNREHEARSED = "the runner alone is looked at"
WEBHOOK_SECRET, CRON_SECRET = "webhook-secret-of-the-rig", "cron-secret-of-the-rig"


@dataclass
class Rig:
    """One target and one incident about it."""

    database: ServiceDatabase
    platform: StandIn
    incident: Incident
    deployments: Mapping[int, str]
    migrations: Path = MIGRATIONS
    opened: dict[Path, Systems] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database.toolkit_url,
            "SERVICE_URL": self.platform.production_url,
            "VERCEL_API_URL": self.platform.api_url,
            "VERCEL_TOKEN": self.platform.token,
            "VERCEL_PROJECT_ID": self.platform.project_id,
            "VERCEL_TEAM_ID": self.platform.team_id,
            "WHOP_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "CRON_SECRET": CRON_SECRET,
            "TOOLKIT_SANDBOX": "none-of-this-name",
        }

    @property
    def systems(self) -> Systems:
        if self.migrations not in self.opened:
            self.opened[self.migrations] = systems_of(self.environment(), self.migrations)
        return self.opened[self.migrations]

    def close(self) -> None:
        for systems in self.opened.values():
            systems.platform.close()
            systems.service.close()

    def set_up(self, version: int, build: int, events: int = 300) -> None:
        """The schema at a version, with rows, and production at the deployment of a build."""
        with psycopg.connect(self.database.owner_url) as conn:
            migrate_up(conn, min(version, 8))
            seed(conn, seed=1, events=events, cases=100)
            migrate_up(conn, version)
        self.systems.database.prepare()
        self.go_live(build)
        self.people_answer()

    def people_answer(self) -> None:
        """What a destructive step waits for and only people can say: here the engine is looked at."""
        for item, text in PEOPLES.items():
            self.incident.record("checklist.ticked", {"item": item, "text": text, "by": "tester"}, actor="tester")

    def go_live(self, build: int) -> None:
        self.systems.platform.promote(self.deployments[build], within=15)

    def live(self) -> str:
        systems = self.systems
        return systems.platform.production(systems.production_host).id

    def back_up(self) -> None:
        make_backup(self.systems, self.incident.folder / "backup", incident=self.incident, actor="tester")

    def plan(self, **wish: Any) -> Plan:
        return rollback_plan(self.systems, self.incident, **wish)

    def entries(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.incident.journal.entries() if entry.kind in kinds]

    def state_table(self) -> list[tuple[int, bool]]:
        return [(row[0], row[1]) for row in self.query("SELECT version, dirty FROM public.schema_migrations")]

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.admin_url, autocommit=True) as conn:
            done = conn.execute(statement)
            return done.fetchall() if done.description else []

    @contextmanager
    def session(self, statement: str, name: str = "nightly-report") -> Iterator[psycopg.Connection[Any]]:
        """An open transaction in which that was just run."""
        with psycopg.connect(self.database.owner_url, application_name=name) as conn:
            conn.execute(statement)
            yield conn
            conn.rollback()


def deployments_of(platform: StandIn) -> dict[int, str]:
    """The past deployments of a fresh stand-in, and a new one of build 9, by their build."""
    past = {build: platform.past(build) for build in BUILDS[:-1]}
    return past | {9: platform.deploy(9)}


def systems_of(environment: Mapping[str, str], migrations: Path) -> Systems:
    book = load_playbook(ROOT / "playbook.toml")
    target = book.target("sandbox", environment)
    return connect(book, target.model_copy(update={"migrations": migrations}))


def on_production(systems: Systems) -> Systems:
    """The same systems, said to be production."""
    return replace(systems, target=systems.target.model_copy(update={"production": True}))


def _die_at(when: str, kind: str, step: str) -> None:
    write = Journal.append

    def append(self: Journal, said: str, data: Mapping[str, Any], *, actor: str) -> Entry:
        here = said == kind and step in (data.get("step"), "")
        if here and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        entry = write(self, said, data, actor=actor)
        if here and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return entry

    Journal.append = append  # type: ignore[method-assign]


def main() -> None:
    folder, migrations, stop_at = sys.argv[1:]
    if stop_at:
        _die_at(*stop_at.split(","))
    incident, systems = Incident.at(folder), systems_of(os.environ, Path(migrations))
    plan = rollback_plan(systems, incident, migration_target=8)
    result = carry_out(plan, systems, incident, actor="driver", execute=True, no_rehearsal=UNREHEARSED)
    sys.stdout.write(json.dumps([[each.step, each.outcome] for each in result.steps]))


if __name__ == "__main__":
    main()
