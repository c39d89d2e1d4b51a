"""Partitions that came since the backup: the restored tables get them too, so that their rows have a place.

Only the restored side is changed. A new partition is made like one that is there, with its indexes, foreign keys and
privileges, since the columns' types are the restored side's; its bound and its checks are the damaged one's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql


@dataclass(frozen=True)
class _Partition:
    """One partition. `root`: (the application's schema, table) that it hangs on. `bound`: FOR VALUES … or DEFAULT."""

    root: tuple[str, str]
    schema: str
    name: str
    oid: int
    bound: str
    leaf: bool
    parent: sql.Identifier
    owner: str


def add_missing_partitions(conn: Connection, damaged: Mapping[str, str], restored: Mapping[str, str]) -> list[str]:
    """Make what is missing; a sentence for each that was made, or could not be.

    Where the restored table has a default partition, rows go there and nothing is made.
    """
    there, here = _partitions(conn, damaged), _partitions(conn, restored)
    bounds = {(each.root, each.bound) for each in here}
    notes = []
    for missing in there:
        siblings = [each for each in here if each.root == missing.root]
        if (missing.root, missing.bound) in bounds or any(each.bound == "DEFAULT" for each in siblings):
            continue
        named = f"{missing.root[0]}.{missing.name}"
        models = [each for each in siblings if each.leaf]
        if not models or not missing.leaf:
            notes.append(f"the partition {named} came after the backup and has no like in it: its rows are listed")
            continue
        _make_like(conn, models[0], missing, restored)
        notes.append(f"the partition {named} came after the backup and was made again")
    return notes


def _partitions(conn: Connection, schemas: Mapping[str, str]) -> Sequence[_Partition]:
    rows = conn.execute(
        """
        SELECT home.nspname, root.relname, place.nspname, part.relname, part.oid::int8,
               pg_get_expr(part.relpartbound, part.oid), part.relkind = 'r', pg_get_userbyid(part.relowner)
        FROM pg_inherits
        JOIN pg_class AS part ON part.oid = inhrelid
        JOIN pg_namespace AS place ON place.oid = part.relnamespace
        JOIN pg_class AS root ON root.oid = inhparent
        JOIN pg_namespace AS home ON home.oid = root.relnamespace
        WHERE home.nspname = ANY (%(schemas)s)
          AND part.relispartition AND part.relkind IN ('r', 'p') AND NOT root.relispartition
        ORDER BY part.oid
        """,
        {"schemas": list(schemas.values())},
    ).fetchall()
    application = {stands: name for name, stands in schemas.items()}
    return [
        _Partition((application[home], root), schema, name, oid, bound, leaf, sql.Identifier(home, root), owner)
        for home, root, schema, name, oid, bound, leaf, owner in rows
    ]


def _make_like(conn: Connection, model: _Partition, missing: _Partition, restored: Mapping[str, str]) -> None:
    made = sql.Identifier(model.schema, missing.name)
    create = sql.SQL("""
        CREATE TABLE {made}
        (LIKE {model} INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE INCLUDING INDEXES)
    """).format(made=made, model=sql.Identifier(model.schema, model.name))
    conn.execute(create)
    for name, said in [*_constraints(conn, missing, "c"), *_constraints(conn, model, "f")]:
        add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
        conn.execute(add.format(made, sql.Identifier(name), sql.SQL(said)))
    attach = sql.SQL("ALTER TABLE {} ATTACH PARTITION {} {}").format(model.parent, made, sql.SQL(missing.bound))
    conn.execute(attach)
    _give_like(conn, model, made)


def _constraints(conn: Connection, part: _Partition, kind: str) -> list[tuple[str, str]]:
    """Constraints of its own, as SQL. Checks that name the damaged schema cannot be made again and are left out."""
    rows = conn.execute(
        """
        SELECT conname::text, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE conrelid = %(oid)s AND contype = %(kind)s AND conparentid = 0 AND coninhcount = 0
        ORDER BY conname
        """,
        {"oid": part.oid, "kind": kind},
    ).fetchall()
    return [(name, said) for name, said in rows if kind == "f" or f"{part.schema}." not in said]


def _give_like(conn: Connection, model: _Partition, made: sql.Identifier) -> None:
    """The model's owner and privileges."""
    rows = conn.execute(
        """
        SELECT CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable
        FROM pg_class
        CROSS JOIN LATERAL aclexplode(relacl)
        WHERE oid = %(oid)s AND grantee <> relowner
        """,
        {"oid": model.oid},
    ).fetchall()
    for role, privilege, grantable in rows:
        give = sql.SQL("GRANT {} ON {} TO {}{}").format(
            sql.SQL(privilege),
            made,
            sql.SQL("PUBLIC") if role is None else sql.Identifier(role),
            sql.SQL(" WITH GRANT OPTION" if grantable else ""),
        )
        conn.execute(give)
    conn.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(made, sql.Identifier(model.owner)))
