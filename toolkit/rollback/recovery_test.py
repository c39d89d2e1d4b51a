"""The recovery test: the newest real backup restored on a scratch server of our own, timed and looked at.

Production is not asked: what is proved is that the file alone brings the data back. How old the newest row is, is what
would be lost (the recovery point); how long the restore took is how long one would wait (the recovery time). What
could not be looked at is unknown, and unknown does not pass. Figures and names only: no value of any row is kept.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.adapters.readings import exists, relation
from toolkit.checks import CheckResult, Finding, Outcome, failed, judge, overall, passed, unknown
from toolkit.clock import iso, utc_now
from toolkit.errors import BackupError, ToolkitError, UsageError
from toolkit.playbook import Playbook, pg_bindir
from toolkit.progress import Advance, no_advance
from toolkit.rollback.backup.foreign import describe_dump, require_usable
from toolkit.rollback.restore.source_reading import Source, read_source
from toolkit.rollback.scratch import Scratch, ensure_roles, scratch_server

AREA = "recovery test"
FRESH_WITHIN = timedelta(hours=26)  # a nightly backup, and two hours for it to run late
JOBS = 2
MISSING_ROLE, RECOVERED = 'role "', "recovered"


@dataclass(frozen=True)
class RecoveryTest:
    """What came of one. `backup` is its name; times are seconds; `recovery_point_s` is the age of the newest row when
    the test began. None: not known. `tested_at` is UTC."""

    target: str
    backup: str
    tested_at: datetime
    bytes: int
    recovery_time_s: float | None
    recovery_point_s: float | None
    results: tuple[CheckResult, ...]

    @property
    def outcome(self) -> Outcome:
        return overall(self.results)

    def to_json(self) -> dict[str, object]:
        """As `recovery.json` has it."""
        told = asdict(self) | {"tested_at": iso(self.tested_at), "outcome": self.outcome}
        return told | {"results": [asdict(each) for each in self.results]}


def newest_backup(target: str, folder: Path | None) -> Path:
    """The newest file or folder in a target's folder of scheduled backups, by when it was last written; an empty or
    broken one too: that is what the test is to find. UsageError where there is none."""
    if folder is None or not folder.is_dir():
        raise UsageError(
            f"Target {target} has no folder of scheduled backups here",
            state="nothing was done",
            next="set its backups_folder in the playbook, or name a backup: --backup FILE",
        )
    found = [each for each in folder.iterdir() if not each.name.startswith(".")]
    if not found:
        raise UsageError(f"{folder} is empty: there is no backup to test", state="nothing was done", next="make one")
    return max(found, key=lambda each: (each.stat().st_mtime, each.name))


def run_recovery_test(
    playbook: Playbook, target: str, backup: Path, *, advance: Advance = no_advance, now: datetime | None = None
) -> RecoveryTest:
    """Restore it and look. Raises DatabaseError when no scratch server can be had; all else is in the results."""
    began = now or utc_now()
    test = _Test(playbook, backup, began)
    results = [*test.look("it can be read to its end", test.readable)]
    if results[0].outcome is Outcome.PASS:
        results += test.restored(advance)
    return RecoveryTest(
        target, backup.name, began, _size(backup), test.recovery_time_s, test.recovery_point_s, tuple(results)
    )


class _Test:
    def __init__(self, playbook: Playbook, backup: Path, now: datetime) -> None:
        self.names, self.backup, self.now = playbook.database, backup, now
        self.roles = [*playbook.database.application_roles]
        self.source: Source | None = None
        self.recovery_time_s: float | None = None
        self.recovery_point_s: float | None = None

    def look(self, name: str, ask: Callable[[], Finding]) -> list[CheckResult]:
        """One check; whatever keeps it from looking makes it unknown."""
        begun = time.monotonic()
        try:
            finding = ask()
        except (ToolkitError, OSError) as error:
            finding = unknown(f"could not look: {error}")
        seconds = round(time.monotonic() - begun, 3)
        return [CheckResult(name, AREA, finding.outcome, finding.evidence, utc_now(), seconds)]

    def readable(self) -> Finding:
        if _size(self.backup) == 0:
            return failed("it has no content")
        try:
            self.source = read_source(self.backup)
            if self.source.kind != "ours":
                require_usable(describe_dump(self.backup, PgTools.found(pg_bindir())))
        except BackupError as error:
            return failed(error.what)
        return passed(f"{_size(self.backup):,} bytes, {self.source.kind}")

    def restored(self, advance: Advance) -> Iterator[CheckResult]:
        """Restore, then what is in it. Nothing is said of what is in one that could not be restored."""
        source = self.source
        assert source is not None
        with _server(source) as scratch:
            database: list[Database] = []
            yield from (
                first := self.look("it can be restored", lambda: self._restore(scratch, source, database, advance))
            )
            if first[0].outcome is not Outcome.PASS:
                return
            for table in self.names.critical_tables:
                yield from self.look(f"{table} has rows", partial(self._rows, database[0], table))
            yield from self.look("its migration version is told", lambda: self._version(database[0]))
            yield from self.look("its newest event is from last night or later", lambda: self._newest(database[0]))

    def _restore(self, scratch: Scratch, source: Source, made: list[Database], advance: Advance) -> Finding:
        begun = time.monotonic()
        try:
            if source.kind == "ours":
                built = scratch.restored(self.backup, advance=advance)
                made.append(built.database)
                refused = list(built.problems)
            else:
                made.append(scratch.empty(RECOVERED, roles=self.roles))
                refused = self._load(made[0], scratch, source, advance)
        except BackupError as error:
            return failed(error.what)
        self.recovery_time_s = round(time.monotonic() - begun, 1)
        told = f"in {self.recovery_time_s:.1f} s, on PostgreSQL {scratch.major}"
        return judge(
            not refused, told if not refused else f"{len(refused)} parts were refused: {'; '.join(refused[:3])}"
        )

    def _load(self, database: Database, scratch: Scratch, source: Source, advance: Advance) -> list[str]:
        """A dump of others names roles that only its server has: those are made, and it is loaded once more."""
        tools = PgTools(scratch.server.binaries)
        if source.kind == "plain":
            tools.run_sql_file(database, self.backup, server_major=scratch.major, advance=advance)
            return []
        refused = tools.restore(database, self.backup, jobs=JOBS, no_tablespaces=True, advance=advance)
        if missing := sorted({each.split(MISSING_ROLE)[1].split('"')[0] for each in refused if MISSING_ROLE in each}):
            with database.writing() as conn:
                ensure_roles(conn, missing)
            again = scratch.empty(RECOVERED, roles=[*self.roles, *missing])
            refused = tools.restore(again, self.backup, jobs=JOBS, no_tablespaces=True, advance=advance)
        return refused

    def _rows(self, database: Database, table: str) -> Finding:
        with database.reading(within_ms=0) as conn:
            if not exists(conn, table):
                return failed("there is no such table in it")
            count = _value(conn, sql.SQL("SELECT count(*) FROM {}").format(relation(table)))
        return judge(bool(count), f"{count:,} rows")

    def _version(self, database: Database) -> Finding:
        table = self.names.state_table
        if not table:
            return unknown("the playbook names no state table")
        with database.reading() as conn:
            if not exists(conn, table):
                return failed(f"there is no {table} in it")
            found = _value(conn, sql.SQL("SELECT count(*) FROM {}").format(relation(table)))
        return judge(bool(found), f"{table} has {found} rows")

    def _newest(self, database: Database) -> Finding:
        table, column = self.names.events_table, self.names.events_time
        if not table or not column:
            return unknown("the playbook names no table of events")
        query = sql.SQL("SELECT max({}) FROM {}").format(sql.Identifier(column), relation(table))
        with database.reading(within_ms=0) as conn:
            newest = _value(conn, query)
        if not isinstance(newest, datetime):
            return unknown("there is no event in it")
        age = self.now - newest.astimezone(UTC)
        self.recovery_point_s = round(age.total_seconds(), 1)
        hours = self.recovery_point_s / 3600
        told = f"it is {hours:.1f} h old: so much would be lost; at most {FRESH_WITHIN.total_seconds() / 3600:.0f} h"
        return judge(age <= FRESH_WITHIN, told)


@contextmanager
def _server(source: Source) -> Iterator[Scratch]:
    with scratch_server(like=source.manifest.server if source.manifest else None) as scratch:
        yield scratch


def _value(conn: Connection, query: sql.Composed) -> object:
    row = conn.execute(query).fetchone()
    return row[0] if row else None


def _size(path: Path) -> int:
    files: Sequence[Path] = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)
