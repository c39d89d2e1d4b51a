"""What the damage may be, for an operator to confirm: from the migration's statements and from who wrote the rows.

A mass update shows as one `xmin` over most rows of a table that came at different times. It reads only, a bounded
sample of each table, and tells numbers and names: no value of any row leaves the database. A proposal is a
guess with its evidence; nothing is damaged because it is proposed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import split_name
from toolkit.rollback.damage import Damage, Proposal
from toolkit.rollback.merge.damaging_sql import Touched, touched_by
from toolkit.rollback.merge.rules import expression
from toolkit.rollback.relations import Relation, find_table, relations
from toolkit.rollback.sql_lexer import Statement, tokens

SAMPLE_ROWS = 20_000
LEAST_SHARE = 0.5
LEAST_ROWS = 20


@dataclass(frozen=True)
class Writer:
    """The transaction that wrote most of a table's sampled rows last. `rows` is estimated for the whole table.

    `constant`: columns that hold one value, or none, in all of its rows. `migrated`: it changed the schema too.
    """

    xid: str
    share: float
    rows: int
    evidence: tuple[str, ...]
    constant: tuple[str, ...]
    migrated: bool


def propose_damage(
    conn: Connection,
    schemas: Sequence[str],
    statements: Sequence[Statement] = (),
    *,
    not_before: str | None = None,
    least_share: float = LEAST_SHARE,
) -> tuple[Proposal, ...]:
    """From the statements of a migration's up, and from the rows themselves. [] where nothing looks like damage.

    `schemas` are looked through in order. `not_before` is an xid (text) of the backup's time: older transactions did
    no damage that the backup does not hold. Reads in the caller's transaction, at most SAMPLE_ROWS rows of a table.
    DatabaseError where row-level security would show a part only.
    """
    conn.execute("SET LOCAL row_security = off")
    migrated = _catalog_writers(conn, schemas)
    found: list[Proposal] = []
    told = touched_by(statements)
    tables = {name: find_table(conn, split(name), schemas) for name in {each.damage.table for each in told}}
    for each in told:
        table = tables[each.damage.table]
        found.append(_from_statement(conn, each, table, migrated, not_before))
    named = {table for table in tables.values() if table is not None}
    for table in relations(conn, schemas):
        if table.kind in ("r", "p") and table not in named and not _is_partition(conn, table):
            writer = _main_writer(conn, table, migrated, not_before, sql.SQL("true"))
            if writer is not None and writer.share >= least_share:
                found.append(_from_rows(table, writer))
    return tuple(found)


def split(name: str) -> tuple[str, ...]:
    """A name's parts as they were written."""
    return split_name(name) if "." in name else (name,)


def _from_statement(
    conn: Connection, touched: Touched, table: Relation | None, migrated: frozenset[str], not_before: str | None
) -> Proposal:
    said = [f"line {touched.line} of the migration: rows of {touched.damage.table} are {touched.damage.verb}"]
    said += [f"not read from its text: {each}" for each in touched.unread]
    if table is None:
        return Proposal(touched.damage, (*said, "there is no such table now"), None, True)
    damage = replace(touched.damage, table=f"{table.schema}.{table.name}")
    if damage.verb == "deleted":
        return Proposal(damage, (*said, "who deleted rows cannot be seen: the condition decides"), None, True)
    writer = _main_writer(conn, table, migrated, not_before, _shows(conn, table, damage))
    if writer is None or writer.share < LEAST_SHARE:
        return Proposal(damage, (*said, "no transaction wrote most of those rows"), None, True)
    return Proposal(replace(damage, xids=(writer.xid,)), (*said, *writer.evidence), writer.rows, True)


def _from_rows(table: Relation, writer: Writer) -> Proposal:
    damage = Damage(f"{table.schema}.{table.name}", writer.constant, xids=(writer.xid,))
    columns = (
        f"the same value in all of them: {', '.join(writer.constant)}"
        if writer.constant
        else "no column has one value in all of them: name the damaged columns"
    )
    return Proposal(damage, (*writer.evidence, columns), writer.rows, writer.migrated)


def _shows(conn: Connection, table: Relation, damage: Damage) -> sql.Composable:
    """Rows that look as the damage left them, where what it wrote was read and can be asked."""
    known = _columns(conn, table)
    parts = [
        sql.SQL("{} IS NOT DISTINCT FROM {}").format(sql.Identifier(name), expression(text, f"What {name} was set to"))
        for name, text in damage.written
        if name in known and _is_constant(text)
    ]
    return sql.SQL(" AND ").join(parts) if parts else sql.SQL("true")


def _is_constant(text: str) -> bool:
    """A single string, number, or NULL: anything else might read the row as it was before."""
    found = list(tokens(text))
    return len(found) == 1 and (not found[0].is_name or found[0].is_word("null", "true", "false"))


def _main_writer(
    conn: Connection, table: Relation, migrated: frozenset[str], not_before: str | None, where: sql.Composable
) -> Writer | None:
    """Who wrote most of the sampled rows that satisfy a condition. None without enough rows, or for one too old."""
    sample, size = _sample(conn, table)
    row = conn.execute(
        sql.SQL("""
            SELECT xid::text, rows, total, age(xid) < frozen.age,
                   {not_before}::xid IS NULL OR age(xid) <= age({not_before}::xid)
            FROM (SELECT xmin AS xid, count(*) AS rows, sum(count(*)) OVER () AS total
                  FROM ({sample}) AS sampled WHERE {where} GROUP BY xmin) AS writers
            CROSS JOIN (SELECT coalesce(max(age(relfrozenxid)), 0) AS age FROM pg_class
                        WHERE oid IN (SELECT relid FROM pg_partition_tree({table}::regclass)
                                      UNION SELECT {table}::regclass) AND relkind = 'r') AS frozen
            ORDER BY rows DESC
            LIMIT 1
        """).format(sample=sample, where=where, table=_regclass(conn, table), not_before=sql.Literal(not_before))
    ).fetchone()
    if row is None or row[1] < LEAST_ROWS or not row[3] or not row[4]:
        return None
    xid, rows, total = str(row[0]), int(row[1]), int(row[2])
    about = round(rows * size)
    evidence = [f"transaction {xid} was the last to write {rows / total:.0%} of those rows (about {about})"]
    evidence += ["the same transaction changed the schema"] if xid in migrated else []
    evidence += _when(conn, xid)
    evidence += _spread(conn, table, sample, xid)
    return Writer(xid, rows / total, about, tuple(evidence), _constant(conn, table, sample, xid), xid in migrated)


def _sample(conn: Connection, table: Relation) -> tuple[sql.Composable, float]:
    """A query for at most SAMPLE_ROWS rows from all over the table, and how many rows each of them stands for."""
    row = conn.execute(
        sql.SQL("""
            SELECT coalesce(sum(greatest(reltuples, 0)), 0)::float8, coalesce(sum(pg_relation_size(oid)), 0)::float8
            FROM pg_class
            WHERE relkind = 'r'
              AND oid IN (SELECT relid FROM pg_partition_tree({table}::regclass) UNION SELECT {table}::regclass)
        """).format(table=_regclass(conn, table))
    ).fetchone()
    assert row is not None
    rows = max(row[0], row[1] / 8192)  # never analysed: at least a row for each page
    percent = 100.0 if rows <= SAMPLE_ROWS else max(100.0 * SAMPLE_ROWS / rows, 0.001)
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in _columns(conn, table))
    query = sql.SQL("SELECT xmin, {} FROM {} TABLESAMPLE SYSTEM ({}) REPEATABLE (1) LIMIT {}").format(
        columns, table.identifier, sql.Literal(percent), sql.Literal(2 * SAMPLE_ROWS)
    )
    return query, max(rows / SAMPLE_ROWS, 1.0)


def _constant(conn: Connection, table: Relation, sample: sql.Composable, xid: str) -> tuple[str, ...]:
    """Columns with one value in all of that transaction's rows. Some always have one; a person knows which."""
    columns = _columns(conn, table)
    counts = [
        sql.SQL("""
            count(DISTINCT {c}::text) FILTER (WHERE hit) <= 1
            AND count({c}) FILTER (WHERE hit) IN (0, count(*) FILTER (WHERE hit))
        """).format(c=sql.Identifier(name))
        for name in columns
    ]
    query = sql.SQL("SELECT {} FROM (SELECT *, xmin = {}::xid AS hit FROM ({}) AS sampled) AS sampled").format(
        sql.SQL(", ").join(counts), sql.Literal(xid), sample
    )
    row = conn.execute(query).fetchone()
    assert row is not None
    return tuple(name for name, constant in zip(columns, row, strict=True) if constant)


def _spread(conn: Connection, table: Relation, sample: sql.Composable, xid: str) -> list[str]:
    """Over how long a time the rows came, by the first column that the server fills with the time of insertion."""
    row = conn.execute(
        """
        SELECT attname::text
        FROM pg_attribute
        JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = format('%%I.%%I', %(schema)s::text, %(table)s::text)::regclass
          AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
          AND pg_get_expr(adbin, adrelid) IN ('now()', 'CURRENT_TIMESTAMP', 'clock_timestamp()')
        ORDER BY attnum
        LIMIT 1
        """,
        {"schema": table.schema, "table": table.name},
    ).fetchone()
    if row is None:
        return []
    query = sql.SQL("""
        SELECT extract(epoch FROM max({c}) - min({c}))::float8 FROM ({sample}) AS sampled WHERE xmin = {xid}::xid
    """).format(c=sql.Identifier(row[0]), sample=sample, xid=sql.Literal(xid))
    spread = conn.execute(query).fetchone()
    if spread is None or spread[0] is None:
        return []
    return [f"by {row[0]} they came over {spread[0] / 3600:.1f} hours: it changed or copied them, or loaded them"]


def _when(conn: Connection, xid: str) -> list[str]:
    """When it committed, where the server keeps that."""
    kept = conn.execute("SELECT current_setting('track_commit_timestamp')").fetchone()
    if kept != ("on",):
        return []
    row = conn.execute("SELECT pg_xact_commit_timestamp(%(xid)s::xid)", {"xid": xid}).fetchone()
    return [f"it committed at {row[0]:%Y-%m-%d %H:%M:%S} UTC"] if row and row[0] else []


def _catalog_writers(conn: Connection, schemas: Sequence[str]) -> frozenset[str]:
    """Transactions that last wrote a column, constraint, type or trigger of these schemas: those of migrations."""
    rows = conn.execute(
        """
        WITH tables AS (
            SELECT pg_class.oid
            FROM pg_class
            JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname = ANY (%(schemas)s)
        )
        SELECT xmin::text FROM pg_attribute WHERE attrelid IN (SELECT oid FROM tables)
        UNION
        SELECT xmin::text FROM pg_constraint WHERE conrelid IN (SELECT oid FROM tables)
        UNION
        SELECT xmin::text FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM tables)
        UNION
        SELECT pg_proc.xmin::text
        FROM pg_proc
        JOIN pg_namespace ON pg_namespace.oid = pronamespace
        WHERE nspname = ANY (%(schemas)s)
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return frozenset(row[0] for row in rows)


def _columns(conn: Connection, table: Relation) -> tuple[str, ...]:
    rows = conn.execute(
        """
        SELECT attname::text
        FROM pg_attribute
        WHERE attrelid = format('%%I.%%I', %(schema)s::text, %(table)s::text)::regclass
          AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
        """,
        {"schema": table.schema, "table": table.name},
    ).fetchall()
    return tuple(row[0] for row in rows)


def _is_partition(conn: Connection, table: Relation) -> bool:
    query = sql.SQL("SELECT relispartition FROM pg_class WHERE oid = {}::regclass").format(_regclass(conn, table))
    return conn.execute(query).fetchone() == (True,)


def _regclass(conn: Connection, table: Relation) -> sql.Literal:
    return sql.Literal(table.identifier.as_string(conn))
