"""Tools that list what is applied and keep what failed: Flyway, Liquibase, Prisma, sqitch, pgroll, Atlas."""

from collections.abc import Sequence

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.state_tables.listing import there
from toolkit.adapters.state_tables.locks import PRISMA, SQITCH, atlas_key, flyway_key
from toolkit.adapters.state_tables.recorded import Holder, Reader, Recorded, listed


class Flyway(Reader):
    """A row for each run, never changed: the latest one of a version counts, and an UNDO takes it back.

    `BASELINE` says that all up to it was there before. Rows without a version are repeatable scripts.
    """

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL("SELECT version, type, script, checksum::text, success FROM {} ORDER BY installed_rank")
        latest: dict[tuple[int, ...], tuple[str, bool, str | None]] = {}
        failed, baseline = dict[str, str](), None
        for version, kind, script, checksum, success in conn.execute(query.format(sql.Identifier(schema, table))):
            label = version or script
            failed.pop(label, None)
            if not success:
                failed[label] = label
            elif version is None:
                continue
            elif kind == "BASELINE":
                baseline = version
            elif kind == "DELETE" or kind.startswith("UNDO"):
                latest.pop(version_parts(version), None)
            else:
                latest[version_parts(version)] = version, kind == "SQL", checksum
        ordered = [latest[parts] for parts in sorted(latest)]
        sums = {label: checksum for label, is_sql, checksum in ordered if is_sql and checksum is not None}
        said = listed([label for label, _, _ in ordered], failed=list(failed), checksums=sums, up_to=baseline)
        return said if said.applied or baseline is None else _only(baseline, said)

    def lock_keys(self, database: str, schema: str, table: str) -> Sequence[int]:
        return (flyway_key(schema, table),)


def version_parts(version: str) -> tuple[int, ...]:
    """`1.10` as (1, 10), by which Flyway orders; zeros at the end say nothing."""
    parts = [int(part) for part in version.replace("_", ".").split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _only(baseline: str, said: Recorded) -> Recorded:
    version = int(baseline) if baseline.isdecimal() else 1
    return Recorded(version, said.dirty, (), baseline, said.failed, places=not baseline.isdecimal())


class Liquibase(Reader):
    """A row for each change set. Its lock is a row of a second table, without an expiry."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL("SELECT filename, id, author, exectype, md5sum FROM {} ORDER BY orderexecuted, dateexecuted")
        rows = conn.execute(query.format(sql.Identifier(schema, table))).fetchall()
        failed = [f"{file}::{name}" for file, name, _, kind, _ in rows if kind == "FAILED"]
        done = [
            f"{file}::{name}::{author}" for file, name, author, kind, _ in rows if kind not in ("FAILED", "SKIPPED")
        ]
        count = len(done) or None
        locked = self._locked(conn, schema, f"{table}lock")
        said = ("The checksums that Liquibase keeps are not compared with the files",) if rows else ()
        return Recorded(
            count, bool(failed), tuple(done), failed=tuple(failed), locked_by=locked, problems=said, places=bool(done)
        )

    def _locked(self, conn: Connection, schema: str, lock: str) -> tuple[Holder, ...]:
        if not there(conn, schema, lock):
            return ()
        query = sql.SQL("SELECT coalesce(lockedby, ''), lockgranted::text FROM {} WHERE locked")
        rows = conn.execute(query.format(sql.Identifier(schema, lock))).fetchall()
        said = f"a row in {schema}.{lock}, which has no expiry"
        return tuple(Holder(None, f"{who} (granted {when}, by the clock there)", None, said) for who, when in rows)


class Prisma(Reader):
    """A row for each attempt: finished, rolled back, or, with neither, failed or still running."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL(
            """
            SELECT migration_name, checksum, finished_at IS NOT NULL
            FROM {}
            WHERE rolled_back_at IS NULL
            """
        )
        rows = conn.execute(query.format(sql.Identifier(schema, table))).fetchall()
        done = {str(name): str(checksum) for name, checksum, finished in rows if finished}
        return listed(sorted(done), failed=sorted(str(n) for n, _, finished in rows if not finished), checksums=done)

    def lock_keys(self, database: str, schema: str, table: str) -> Sequence[int]:
        return (PRISMA,)


class Sqitch(Reader):
    """`changes` lists what is deployed; the latest of `events` says whether the last attempt failed."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL("SELECT change, project FROM {} ORDER BY committed_at")
        rows = conn.execute(query.format(sql.Identifier(schema, table))).fetchall()
        projects = sorted({str(project) for _, project in rows})
        problems: tuple[str, ...] = ("The hashes that sqitch keeps are not compared with the scripts",) if rows else ()
        if len(projects) > 1:
            problems += (f"Several projects share this registry: {', '.join(projects)}",)
        failed = self._failed(conn, schema)
        names = tuple(str(change) for change, _ in rows)
        return Recorded(len(names) or None, bool(failed), names, failed=failed, problems=problems, places=bool(names))

    def _failed(self, conn: Connection, schema: str) -> tuple[str, ...]:
        query = sql.SQL("SELECT event, change FROM {} ORDER BY committed_at DESC LIMIT 1")
        row = conn.execute(query.format(sql.Identifier(schema, "events"))).fetchone()
        return (str(row[1]),) if row and row[0] == "fail" else ()

    def lock_keys(self, database: str, schema: str, table: str) -> Sequence[int]:
        return (SQITCH,)


class Pgroll(Reader):
    """A row for each migration of each schema; one that is not done has both versions of the schema live.

    Rows of kind `inferred` are DDL that pgroll saw and did not do.
    """

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL(
            """
            SELECT schema, name, done
            FROM {} AS kept
            WHERE coalesce(to_jsonb(kept) ->> 'migration_type', 'pgroll') <> 'inferred'
            ORDER BY created_at
            """
        )
        rows = conn.execute(query.format(sql.Identifier(schema, table))).fetchall()
        schemas = sorted({str(each) for each, _, _ in rows})
        problems = (f"It keeps the migrations of several schemas: {', '.join(schemas)}",) if len(schemas) > 1 else ()
        done = tuple(str(name) for _, name, finished in rows if finished)
        failed = tuple(str(name) for _, name, finished in rows if not finished)
        return Recorded(len(done) or None, bool(failed), done, failed=failed, problems=problems, places=bool(done))


class Atlas(Reader):
    """A row for each file: how many of its statements were applied, of how many, and the error that stopped it."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL(
            """
            SELECT version, applied >= total AND coalesce(error, '') = ''
            FROM {}
            WHERE version NOT LIKE '.%%'
            """
        )
        rows = sorted(conn.execute(query.format(sql.Identifier(schema, table)), {}).fetchall())
        done, failed = ([str(version) for version, whole in rows if whole is wanted] for wanted in (True, False))
        said = ("The hashes that Atlas keeps are not compared with the files",) if rows else ()
        return listed(done, failed=failed, problems=said)

    def lock_keys(self, database: str, schema: str, table: str) -> Sequence[int]:
        return (atlas_key(),)
