"""The fingerprints of all tables in the snapshot of a dump: what proves, after a restore, that the rows are the same.

The critical tables come first and are always proved; the others follow, as long as there is time for them. It reads in
the caller's transaction.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection
from toolkit.playbook import Playbook
from toolkit.rollback.backup.manifest import TableRecord
from toolkit.rollback.relations import Relation, count_rows, find_table
from toolkit.verify.fingerprints import fingerprint

FINGERPRINTS_SINCE = 140000  # hash_record_extended


@dataclass(frozen=True)
class TableProofs:
    """`critical` by the playbook's names, `others` as `schema.table`. `absent`: critical tables that are not there."""

    critical: dict[str, TableRecord]
    others: dict[str, TableRecord]
    absent: tuple[str, ...]
    unproved: tuple[str, ...]


def prove_tables(
    conn: Connection,
    catalog: Sequence[Relation],
    playbook: Playbook,
    *,
    others_within_s: float | None = None,
    done: Callable[[str], None] = lambda _name: None,
) -> TableProofs:
    """Count and hash the rows of every table.

    `others_within_s`: once the critical ones are done, how many seconds the others may take; those whose turn comes
    later are left unproved. `done` is told each table that is done. Raises DatabaseError.
    """
    parts = _parts_of(conn, catalog)
    critical: dict[str, TableRecord] = {}
    absent = []
    for name in playbook.database.critical_tables:
        table = find_table(conn, name.split("."), playbook.database.schemas)
        if table is None:
            absent.append(name)
        else:
            critical[name] = _proof(conn, table, parts[table])
            done(name)
    covered = {part for record in critical.values() for part in (record.table, *record.parts)}
    others: dict[str, TableRecord] = {}
    unproved = []
    until = None if others_within_s is None else time.monotonic() + others_within_s
    for table in _by_size(conn, [each for each in catalog if each.stores_rows and each not in covered]):
        name = f"{table.schema}.{table.name}"
        if until is not None and time.monotonic() > until:
            unproved.append(name)
        else:
            others[name] = _proof(conn, table, parts[table])
            done(name)
    return TableProofs(critical, others, tuple(absent), tuple(sorted(unproved)))


def counts_only(conn: Connection, table: Relation) -> bool:
    """Whether the server cannot hash rows, or the name would be taken for schema and table."""
    return conn.info.server_version < FINGERPRINTS_SINCE or "." in table.schema + table.name


def _proof(conn: Connection, table: Relation, parts: tuple[Relation, ...]) -> TableRecord:
    if counts_only(conn, table):
        return TableRecord(table=table, parts=parts, rows=count_rows(conn, table))
    taken = fingerprint(conn, f"{table.schema}.{table.name}")
    return TableRecord(table=table, parts=parts, rows=taken.rows, columns=taken.columns, digest=taken.digest)


def _parts_of(conn: Connection, catalog: Sequence[Relation]) -> dict[Relation, tuple[Relation, ...]]:
    """By table, those that store the rows which a SELECT from it reads: itself, and whatever inherits from it."""
    rows = conn.execute(
        """
        WITH RECURSIVE below AS (
            SELECT inhparent AS parent, inhrelid AS child FROM pg_inherits
            UNION
            SELECT below.parent, deeper.inhrelid
            FROM below
            JOIN pg_inherits AS deeper ON deeper.inhparent = below.child
        )
        SELECT pn.nspname::text, p.relname::text, p.relkind::text, cn.nspname::text, c.relname::text, c.relkind::text
        FROM below
        JOIN pg_class p ON p.oid = below.parent
        JOIN pg_namespace pn ON pn.oid = p.relnamespace
        JOIN pg_class c ON c.oid = below.child
        JOIN pg_namespace cn ON cn.oid = c.relnamespace
        WHERE p.relkind IN ('r', 'p') AND c.relkind = 'r'
        ORDER BY 4, 5
        """
    ).fetchall()
    parts = {each: [each] if each.stores_rows else [] for each in catalog if each.kind in ("r", "p")}
    for row in rows:
        if (parent := Relation(*row[:3])) in parts:
            parts[parent].append(Relation(*row[3:]))
    return {table: tuple(found) for table, found in parts.items()}


def _by_size(conn: Connection, tables: Sequence[Relation]) -> list[Relation]:
    """The smallest first: where time is short, most tables are proved."""
    rows = conn.execute(
        """
        SELECT n.nspname::text, c.relname::text, c.relpages
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r'
        """
    ).fetchall()
    pages = {(schema, name): count for schema, name, count in rows}
    return sorted(tables, key=lambda each: (pages.get((each.schema, each.name), 0), each))
