"""Is the data whole? Critical tables by content, not by existence; nothing orphaned, nothing twice, nothing rewritten.

It compares with what the backup counted and with what the stable point fingerprinted. Every question has a deadline of
its own, on both sides; what takes longer is unknown. It reads only.
"""

from collections.abc import Callable
from datetime import timedelta

from toolkit.adapters.conflicts import UNDECIDED, judge_conflicts
from toolkit.adapters.postgres import Connection, ServerIdentity, sql
from toolkit.adapters.readings import exists, relation
from toolkit.adapters.systems import Systems
from toolkit.adapters.value_shares import Shares, shift, value_shares
from toolkit.checks import Check, Finding, failed, judge, passed, unknown
from toolkit.clock import utc_now
from toolkit.verify.expectation import EventSlice, Expectation, QuietRows
from toolkit.verify.fingerprints import fingerprint, pin, row_hash
from toolkit.verify.lasting import rows_are_there

AREA = "data"
CONTENT_WITHIN_MS = 20_000
SLICE_GOOD_FOR = timedelta(days=7)
EMPTIED_BELOW = 0.5

Ask = Callable[[Connection], Finding]


def database_checks(systems: Systems, expectation: Expectation) -> list[Check]:
    """Connection and identity, rows, references, duplicates, and what must not have changed since the stable point."""
    names = systems.playbook.database

    def check(name: str, ask: Ask) -> Check:
        def look() -> Finding:
            with systems.database.reading(within_ms=CONTENT_WITHIN_MS) as conn:
                pin(conn)
                return ask(conn)

        return Check(name, AREA, look)

    checks = [
        Check("the database answers and is the one that was meant", AREA, lambda: _identity(systems, expectation))
    ]
    for table in names.critical_tables:
        if expectation.rolled_back or expectation.backup_rows is not None:
            checks.append(check(f"{table} has no row less than the backup", _rows(table, expectation)))
        checks.append(check(f"{table} was not emptied", _not_emptied(table, expectation)))
    checks += [
        check(f"every {child} is found in {parent}", _references(child, parent))
        for child, parent in names.references.items()
    ]
    event = f"{names.events_table}.{names.events_key}"
    checks.append(check(f"no {event} is there twice", _once(names.events_table, names.events_key)))
    baseline = expectation.baseline
    if baseline.events and utc_now() - baseline.events.until < SLICE_GOOD_FOR:
        unchanged = _events_unchanged(names.events_table, names.events_time, baseline.events)
        checks.append(check(f"{names.events_table} of before are as they were", unchanged))
    checks += [
        check(f"{table} changed only as it should", _quiet(table, names.quiet_tables[table], kept))
        for table, kept in baseline.quiet.items()
        if table in names.quiet_tables
    ]
    checks += [
        check(f"{table} has every row of before", rows_are_there(table, kept))
        for table, kept in baseline.lasting.items()
        if table in names.lasting_columns
    ]
    checks.append(check(UNDECIDED, judge_conflicts))
    limit = systems.playbook.thresholds.value_shift
    checks += [
        check(f"the values of {column} are spread as before", _spread(column, baseline.shares.get(column), limit))
        for column in names.watched_columns
    ]
    return checks


def _identity(systems: Systems, expectation: Expectation) -> Finding:
    """Against the server that was assessed, else the one of the stable point. A name alone proves no server."""
    found = systems.database.identity()
    told = f"PostgreSQL {found.version}, database {found.database} on {found.host}:{found.port}"
    expected: ServerIdentity | None = expectation.server
    kept = expectation.baseline.server
    database = expected.database if expected else kept.get("database")
    system = expected.system_identifier if expected else kept.get("system_identifier")
    if database is None:
        return unknown(f"{told}; nobody recorded which server to expect")
    if database != found.database:
        return failed(f"{told}; database {database} was expected")
    if found.system_identifier is None:
        return unknown(f"{told}; its identifier is hidden: grant this role EXECUTE on pg_control_system()")
    if system is None:
        return unknown(f"{told}; identifier {found.system_identifier}, but which to expect was not recorded")
    return judge(system == found.system_identifier, f"{told}; identifier {found.system_identifier}, expected {system}")


def count(conn: Connection, table: str) -> int:
    """All rows of a table. Works in proportion to them."""
    row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(relation(table))).fetchone()
    assert row is not None
    return int(row[0])


def _rows(table: str, expectation: Expectation) -> Ask:
    def ask(conn: Connection) -> Finding:
        if not exists(conn, table):
            return failed("there is no such table")
        now, before = count(conn, table), expectation.backed_up(table)
        if before is not None:
            return judge(now >= before, f"{now:,} rows now, {before:,} in the backup")
        stable = expectation.baseline.rows.get(table)
        if expectation.backup_rows and stable is not None:  # it was gone when the backup was made
            return judge(
                now >= stable, f"{now:,} rows now, {stable:,} when it was stable; the backup holds no count of it"
            )
        return unknown(f"{now:,} rows; no backup's count to compare with")

    return ask


def _not_emptied(table: str, expectation: Expectation) -> Ask:
    """Clean-ups delete, but never half of a table at once."""

    def ask(conn: Connection) -> Finding:
        now, before = count(conn, table), expectation.baseline.rows.get(table)
        if before is None:
            return unknown(f"{now:,} rows; no count was recorded to compare with")
        return judge(now >= before * EMPTIED_BELOW, f"{now:,} rows now, {before:,} when it was stable")

    return ask


def _references(child: str, parent: str) -> Ask:
    def ask(conn: Connection) -> Finding:
        (table, column), (parent_table, parent_column) = child.rsplit(".", 1), parent.rsplit(".", 1)
        row = conn.execute(
            sql.SQL(
                """
                SELECT count(*)
                FROM {child}
                WHERE {column} IS NOT NULL
                  AND NOT EXISTS (SELECT FROM {parent} AS parent WHERE parent.{parent_column} = {child}.{column})
                """
            ).format(
                child=relation(table),
                column=sql.Identifier(column),
                parent=relation(parent_table),
                parent_column=sql.Identifier(parent_column),
            )
        ).fetchone()
        assert row is not None
        return judge(row[0] == 0, f"{row[0]:,} orphans among {count(conn, table):,} rows")

    return ask


def _once(table: str, key: str) -> Ask:
    """A valid unique index proves it; without one every row is looked at."""

    def ask(conn: Connection) -> Finding:
        index = conn.execute(
            """
            SELECT indexrelid::regclass::text
            FROM pg_index
            JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
            WHERE indrelid = %(table)s::text::regclass
              AND attname = %(key)s
              AND indnkeyatts = 1 AND indisunique AND indisvalid AND indpred IS NULL
            """,
            {"table": relation(table).as_string(conn), "key": key},
        ).fetchone()
        if index:
            return passed(f"the unique index {index[0]} is valid")
        query = sql.SQL("SELECT count(*) FROM (SELECT FROM {} GROUP BY {} HAVING count(*) > 1) AS twice")
        row = conn.execute(query.format(relation(table), sql.Identifier(key))).fetchone()
        assert row is not None
        return judge(row[0] == 0, f"{row[0]:,} are there more than once; no unique index forbids it")

    return ask


def _events_unchanged(table: str, time: str, kept: EventSlice) -> Ask:
    def ask(conn: Connection) -> Finding:
        between = sql.SQL("{time} > %(since)s AND {time} <= %(until)s").format(time=sql.Identifier(time))
        span = {"since": kept.since, "until": kept.until}
        now = fingerprint(conn, table, kept.columns, where=between, parameters=span)
        evidence = f"{now.rows:,} rows up to {kept.until:%H:%M:%S} UTC, {kept.rows:,} when it was stable"
        if now.rows != kept.rows:
            return failed(evidence)
        return judge(now.digest == kept.digest, f"{evidence}; fingerprint {now.digest}, then {kept.digest}")

    return ask


def _quiet(table: str, changed: str, kept: QuietRows) -> Ask:
    """A row that was rewritten, but by its own account was not changed since, was not changed by the service."""

    def ask(conn: Connection) -> Finding:
        query = sql.SQL(
            "SELECT {row}::text, coalesce({changed} > %(at)s, false) FROM {table}",
        ).format(row=row_hash(conn, table, kept.columns), changed=sql.Identifier(changed), table=relation(table))
        rows = conn.execute(query, {"at": kept.at}).fetchall()
        then = set(kept.hashes)
        rewritten = sum(1 for digest, later in rows if not later and digest not in then)
        newer = sum(1 for _, later in rows if later)
        gone = len(kept.hashes) - len(rows)
        evidence = f"{len(rows):,} rows, {len(kept.hashes):,} when it was stable; {newer} changed since by {changed}"
        if rewritten or gone > 0:
            return failed(f"{evidence}; {rewritten} differ without that, {max(gone, 0)} are gone")
        return passed(evidence)

    return ask


def _spread(column: str, before: Shares | None, limit: float) -> Ask:
    def ask(conn: Connection) -> Finding:
        if not before:
            return unknown("nothing was recorded to compare with")
        apart = shift(before, value_shares(conn, column))
        return judge(apart <= limit, f"{apart:.0%} of the sampled values are others, limit {limit:.0%}")

    return ask
