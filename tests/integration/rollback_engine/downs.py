"""A database with migrations of a test's own, taken back by the engine's steps alone: no platform, no service.

Also a program: `python downs.py FOLDER VERSION STATEMENT WHEN` takes VERSION back and kills itself with SIGKILL before
or after that statement is sent.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from toolkit.adapters.systems import Systems, connect
from toolkit.drill.database import ServiceDatabase
from toolkit.incident import Incident
from toolkit.playbook import load_playbook
from toolkit.rollback.blocking import Patience
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.plan import MigrateUp, Plan, RunDown, Step
from toolkit.rollback.salvage import PutBack, Salvaged, list_salvaged, put_back
from toolkit.rollback.steps.doing import Surroundings
from toolkit.rollback.steps.migrate_up import MigratingUp
from toolkit.rollback.steps.run_down import RunningDown
from toolkit.rollback.steps.script_runs import ScriptRun
from toolkit.verify.fingerprints import SchemaSignature, schema_signature

ROOT = Path(__file__).parents[3]
NOWHERE = "http://127.0.0.1:9"
QUICK = Patience(lock_within_ms=300, give_up_after_s=2, first_pause_s=0.05, longest_pause_s=0.2)
STATE_TABLE = "CREATE TABLE IF NOT EXISTS schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)"
Told = list[tuple[str, Mapping[str, Any]]]


def environment_of(database_url: str) -> dict[str, str]:
    """A target of which only the database is ever asked."""
    return {
        "DATABASE_URL": database_url,
        "SERVICE_URL": NOWHERE,
        "VERCEL_API_URL": NOWHERE,
        "VERCEL_TOKEN": "token-of-the-downs",
        "VERCEL_PROJECT_ID": "prj_none",
        "VERCEL_TEAM_ID": "team_none",
        "WHOP_WEBHOOK_SECRET": "webhook-secret-of-the-downs",
        "CRON_SECRET": "cron-secret-of-the-downs",
        "TOOLKIT_SANDBOX": "none-of-this-name",
    }


def systems_of(environment: Mapping[str, str], migrations: Path) -> Systems:
    book = load_playbook(ROOT / "playbook.toml")
    return connect(book, book.target("sandbox", environment).model_copy(update={"migrations": migrations}))


@dataclass
class Migrated:
    """`folder` holds `migrations/` and the incident. `told` is what the steps would journal."""

    database: ServiceDatabase
    folder: Path
    patience: Patience = QUICK
    end_blockers: bool = False
    told: Told = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "migrations").mkdir(parents=True, exist_ok=True)
        self.systems = systems_of(environment_of(self.database.toolkit_url), self.folder / "migrations")
        with self.owner() as conn:
            conn.execute(STATE_TABLE)

    def close(self) -> None:
        self.systems.platform.close()
        self.systems.service.close()

    def owner(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.database.owner_url, autocommit=True)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.admin_url, autocommit=True) as conn:
            done = conn.execute(statement)
            return done.fetchall() if done.description else []

    def add(self, version: int, up: str, down: str = "SELECT 1;") -> None:
        """A migration's files."""
        for direction, text in (("up", up), ("down", down)):
            (self.folder / "migrations" / f"{version:03}_made.{direction}.sql").write_text(text)

    def apply(self, version: int, up: str, down: str = "SELECT 1;") -> None:
        """Add it, and apply it as the migration tool would."""
        self.add(version, up, down)
        with self.owner() as conn, conn.transaction():
            conn.execute(up)
            conn.execute("DELETE FROM schema_migrations")
            conn.execute("INSERT INTO schema_migrations VALUES (%s, false)", [version])

    def write(self, *statements: str) -> None:
        with self.owner() as conn:
            for statement in statements:
                conn.execute(statement)

    def down(self, version: int) -> RunningDown:
        script = read_folder(self.folder / "migrations").migrations[version].down
        below = read_folder(self.folder / "migrations").before(version)
        return self._doing(RunDown(version, below, script.file, script.sha256), RunningDown)

    def up(self, version: int) -> MigratingUp:
        script = read_folder(self.folder / "migrations").migrations[version].up
        return self._doing(MigrateUp(version, script.file, script.sha256), MigratingUp)

    def _doing(self, action: Any, kind: Any) -> Any:
        step = Step("the-step", action, "", "", "", "", "")
        identity = self.systems.database.identity()
        plan = Plan("migration", "churn-saver", self.systems.target.name, identity, "", (step,))
        incident = Incident(self.folder / "incident-of-the-test")
        around = Surroundings(
            plan,
            self.systems,
            incident,
            self.patience,
            lambda kind, data: self.told.append((kind, data)),
            end_blockers=self.end_blockers,
        )
        return kind(action, around)

    def take_back(self, version: int) -> str:
        step = self.down(version)
        assert not step.look().done
        said = step.act()
        assert step.look().done
        return said

    def apply_again(self, version: int) -> None:
        step = self.up(version)
        assert not step.look().done
        step.act()
        assert step.look().done

    def salvaged(self) -> list[Salvaged]:
        return list_salvaged(self.systems.database, "incident-of-the-test")

    def put_back(self) -> list[PutBack]:
        return put_back(self.systems.database, "incident-of-the-test")

    def version(self) -> list[tuple[Any, ...]]:
        return self.query("SELECT version, dirty FROM schema_migrations")

    def signature(self, schemas: Sequence[str] = ("public",)) -> SchemaSignature:
        with psycopg.connect(self.database.admin_url) as conn:
            return schema_signature(conn, schemas)

    def content(self, tables: Sequence[str] | None = None) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table as text, in order; the state table and the toolkit's own apart."""
        with psycopg.connect(self.database.admin_url) as conn:
            named = conn.execute(
                """
                SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
                  AND nspname NOT LIKE 'salvage%' AND nspname <> 'toolkit' AND relname <> 'schema_migrations'
                ORDER BY 1, 2
                """
            ).fetchall()
            found = {}
            for schema, table in named:
                query = sql.SQL("SELECT t::text FROM {} AS t ORDER BY 1").format(sql.Identifier(schema, table))
                found[f"{schema}.{table}"] = conn.execute(query).fetchall()
        return {name: rows for name, rows in found.items() if tables is None or name in tables}

    def there_and_back(self, version: int) -> None:
        """Down, up again, put back: every row is what it was before the down."""
        before = self.content()
        self.take_back(version)
        self.apply_again(version)
        self.put_back()
        assert self.content() == before


def _die_at(number: int, when: str) -> None:
    """Kill this process before or after statement `number` of a script is sent, or before its outcome is written."""
    ScriptRun_run, alone = ScriptRun._run, ScriptRun._singly

    def run(self: ScriptRun, conn: Any, piece: Any) -> int:
        if piece.number == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        rows = ScriptRun_run(self, conn, piece)
        if piece.number == number and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return rows

    def singly(self: ScriptRun, piece: Any, owner: str) -> Any:
        if piece.number == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = alone(self, piece, owner)
        if piece.number == number and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    ScriptRun._run, ScriptRun._singly = run, singly  # type: ignore[method-assign]


def main() -> None:
    folder, version, number, when = sys.argv[1:]
    _die_at(int(number), when)
    kept = json.loads(os.environ["DOWNS"])
    migrated = Migrated.__new__(Migrated)
    migrated.folder, migrated.patience, migrated.end_blockers, migrated.told = Path(folder), QUICK, False, []
    migrated.systems = systems_of(kept, migrated.folder / "migrations")
    sys.stdout.write(migrated.take_back(int(version)))


if __name__ == "__main__":
    main()
