"""Is the schema what it was? Every object against the stable point, the state table, and what only the catalog tells.

One listing is read for all checks; each check judges some kinds of objects, so that its name says what is wrong. It
reads only.
"""

from collections.abc import Callable, Sequence

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import MigrationState, migration_state, relation
from toolkit.adapters.state_tables import same_version
from toolkit.adapters.systems import Systems
from toolkit.checks import Check, Finding, failed, judge, passed, unknown
from toolkit.verify.expectation import Expectation
from toolkit.verify.fingerprints import OWN_SCHEMA, SchemaSignature, difference, schema_signature
from toolkit.verify.once import Once

GROUPS = (
    ("schema", "tables and columns are as before", ("schema", "table", "column", "column order", "extension")),
    ("schema", "constraints are as before", ("constraint",)),
    ("schema", "indexes are as before", ("index",)),
    ("schema", "views are as before", ("view", "materialised view", "rule")),
    ("schema", "functions and triggers are as before", ("function", "trigger")),
    ("schema", "types and sequences are as before", ("enum", "domain", "composite type", "sequence")),
    ("security", "row-level security and policies are as before", ("row-level security", "policy")),
    ("security", "owners and grants are as before", ("owner", "grant", "default privilege")),
)
SHOWN = 5

Ask = Callable[[Connection], Finding]


def schema_checks(systems: Systems, expectation: Expectation) -> list[Check]:
    """The migration state, the schema object by object, and the validity of constraints, indexes and sequences."""
    names = systems.playbook.database
    schemas = [schema for schema in names.schemas if schema != OWN_SCHEMA]

    def signature() -> SchemaSignature:
        with systems.database.reading() as conn:
            return schema_signature(conn, schemas)

    def state() -> MigrationState:
        with systems.database.reading() as conn:
            return migration_state(conn, names.state_table)

    found, migrations = Once(signature), Once(state)

    def asked(name: str, ask: Ask) -> Check:
        def look() -> Finding:
            with systems.database.reading() as conn:
                return ask(conn)

        return Check(name, "schema", look)

    def grouped(area: str, name: str, kinds: Sequence[str]) -> Check:
        return Check(name, area, lambda: _as_before(expectation, found.seen(), kinds))

    return [
        Check("the migration version is the expected one", "migration", lambda: _version(migrations, expectation)),
        Check("the state table is not dirty", "migration", lambda: _dirty(migrations)),
        *(grouped(*group) for group in GROUPS),
        asked("no constraint is left unvalidated", lambda conn: _unvalidated(conn, schemas, expectation)),
        asked("every index is valid", lambda conn: _invalid_indexes(conn, schemas)),
        asked("sequences are ahead of their columns", lambda conn: _sequences(conn, schemas)),
    ]


def _version(migrations: Once[MigrationState], expectation: Expectation) -> Finding:
    state = migrations.seen()
    if state.dirty is None:
        return unknown(state.trouble or "the state table does not tell a version")
    said = "no migration" if state.version is None else f"version {state.version}"
    if expectation.migration_version is None:
        return unknown(f"{said}; nobody said which to expect")
    expected = expectation.migration_version
    same = same_version((state.version, state.label), (expected, expectation.migration_label))
    named = f" ({expectation.migration_label})" if expectation.migration_label not in (None, str(expected)) else ""
    return judge(same, f"{said}, expected {expected}{named}")


def _dirty(migrations: Once[MigrationState]) -> Finding:
    state = migrations.seen()
    if state.dirty is None:
        return unknown(state.trouble or "the state table does not tell whether a migration failed")
    said = "no migration" if state.version is None else f"version {state.version}"
    return judge(not state.dirty, f"{said} is marked {'dirty' if state.dirty else 'clean'}")


def _as_before(expectation: Expectation, now: SchemaSignature, kinds: Sequence[str]) -> Finding:
    before = expectation.signature
    if before is None:
        stable = f"version {expectation.stable.version}" if expectation.stable else "none"
        return unknown(f"no signature of version {expectation.migration_version} to compare with (stable: {stable})")
    if before.server != now.server:
        return unknown(f"recorded on PostgreSQL {before.server}, now on {now.server}: catalogs differ between majors")
    changes = [line for line in difference(before, now) if line.startswith(tuple(f"{kind} " for kind in kinds))]
    if not changes:
        return passed(f"{len(now.of(*kinds).objects)} objects, none changed")
    more = f"; and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return failed("; ".join(changes[:SHOWN]) + more)


def _unvalidated(conn: Connection, schemas: Sequence[str], expectation: Expectation) -> Finding:
    """Constraints that were left unvalidated at the stable point may stay so."""
    rows = conn.execute(
        """
        SELECT format('%%I on %%I.%%I', conname, nspname, relname)
        FROM pg_constraint
        JOIN pg_class ON pg_class.oid = conrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE NOT convalidated AND nspname = ANY (%(schemas)s)
        ORDER BY 1
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    found = {str(name) for (name,) in rows}
    kept = expectation.signature.of("constraint").objects if expectation.signature else ()
    excused = {each.name for each in kept if each.definition.endswith("not validated")}
    if new := sorted(found - excused):
        return failed(f"not validated: {', '.join(new[:SHOWN])}")
    return passed(f"{len(found)} not validated, all of them since before" if found else "all are validated")


def _invalid_indexes(conn: Connection, schemas: Sequence[str]) -> Finding:
    rows = conn.execute(
        """
        SELECT format('%%I.%%I', nspname, relname)
        FROM pg_index
        JOIN pg_class ON pg_class.oid = indexrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE NOT (indisvalid AND indisready AND indislive) AND nspname = ANY (%(schemas)s)
        ORDER BY 1
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return judge(not rows, f"invalid: {', '.join(name for (name,) in rows[:SHOWN])}" if rows else "all are valid")


def _sequences(conn: Connection, schemas: Sequence[str]) -> Finding:
    """The next value of each sequence that fills a column must be beyond all that is there, up or down as it counts."""
    rows = conn.execute(
        """
        SELECT sequences.nspname, sequence.relname, tables.nspname, owner.relname, attname, seqincrement
        FROM pg_sequence
        JOIN pg_class AS sequence ON sequence.oid = seqrelid
        JOIN pg_namespace AS sequences ON sequences.oid = sequence.relnamespace
        JOIN pg_depend ON classid = 'pg_class'::regclass AND objid = seqrelid AND refclassid = 'pg_class'::regclass
                      AND refobjsubid > 0 AND deptype IN ('a', 'i')
        JOIN pg_class AS owner ON owner.oid = refobjid
        JOIN pg_namespace AS tables ON tables.oid = owner.relnamespace
        JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
        WHERE tables.nspname = ANY (%(schemas)s)
        ORDER BY 1, 2
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    behind = [told for row in rows if (told := _behind(conn, *row))]
    if behind:
        return failed("; ".join(behind[:SHOWN]))
    return passed(f"{len(rows)} sequences, all ahead" if rows else "no column is filled by a sequence")


def _behind(conn: Connection, schema: str, name: str, on: str, table: str, column: str, step: int) -> str | None:
    extreme = sql.SQL("max" if step > 0 else "min")
    query = sql.SQL("SELECT last_value, is_called, (SELECT {}({}) FROM {}) FROM {}").format(
        extreme, sql.Identifier(column), relation(f"{on}.{table}"), relation(f"{schema}.{name}")
    )
    row = conn.execute(query).fetchone()
    assert row is not None
    last, called, furthest = row
    following = last + step if called else last
    if furthest is None or (following > furthest if step > 0 else following < furthest):
        return None
    return f"{schema}.{name} gives {following} next, but {table}.{column} has {furthest}"
