"""What a dump of schemas leaves out and a restore needs: extensions, roles, rights on the schemas, sequences' values.

Read from the catalog before the dump, kept in the manifest, and brought back by whoever restores. `bring_back` is the
only thing here that changes anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql

PUBLIC = "PUBLIC"  # everybody, as a grantee; roles of that name are quoted


@dataclass(frozen=True, order=True)
class Extension:
    """An extension that was there. `needed`: something outside it depends on it, as far as the catalog knows; bodies of
    functions are only text to it."""

    name: str
    version: str
    schema: str
    needed: bool


@dataclass(frozen=True, order=True)
class Grant:
    """One privilege on a schema. `everybody`: it is granted to PUBLIC, and `role` is empty."""

    role: str
    everybody: bool
    privilege: str
    grantable: bool


@dataclass(frozen=True, order=True)
class SchemaRights:
    """Who owns a schema, and what was granted on it."""

    schema: str
    owner: str
    grants: tuple[Grant, ...]


@dataclass(frozen=True, order=True)
class SequenceRecord:
    """A sequence's value; None: it was not used yet. `increment` below zero: it counts downwards."""

    schema: str
    name: str
    value: int | None
    increment: int
    cycles: bool

    def is_reached_by(self, value: int | None) -> bool:
        """Whether a value that was read later is there or further on. One that cycles may stand anywhere."""
        if self.value is None or self.cycles:
            return True
        return value is not None and (value - self.value) * self.increment >= 0


@dataclass(frozen=True)
class LeftOut:
    """All of it but the sequences' values. `words` tell what of the database is in none of the schemas."""

    words: tuple[str, ...]
    extensions: tuple[Extension, ...]
    rights: tuple[SchemaRights, ...]
    roles: tuple[str, ...]


def read_left_out(conn: Connection, schemas: Sequence[str]) -> LeftOut:
    """What a dump of these schemas leaves out, as the caller's transaction sees it."""
    return LeftOut(words_left_out(conn, schemas), extensions(conn), schema_rights(conn, schemas), roles(conn, schemas))


def extensions(conn: Connection) -> tuple[Extension, ...]:
    """All but plpgsql, which every database has."""
    rows = conn.execute(
        """
        SELECT e.extname, e.extversion, n.nspname,
               EXISTS (
                   SELECT
                   FROM pg_depend AS member
                   JOIN pg_depend AS used
                     ON used.refclassid = member.classid AND used.refobjid = member.objid AND used.deptype IN ('n', 'a')
                   WHERE member.deptype = 'e' AND member.refclassid = 'pg_extension'::regclass
                     AND member.refobjid = e.oid
                     AND NOT EXISTS (  -- what belongs to an extension, or is a part of something that does
                         SELECT
                         FROM pg_depend AS own
                         LEFT JOIN pg_depend AS whole
                           ON own.deptype = 'i' AND whole.deptype = 'e'
                          AND whole.classid = own.refclassid AND whole.objid = own.refobjid
                         WHERE own.classid = used.classid AND own.objid = used.objid
                           AND (own.deptype = 'e' OR whole.objid IS NOT NULL)
                     )
               )
        FROM pg_extension e
        JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname <> 'plpgsql'
        ORDER BY e.extname
        """
    ).fetchall()
    return tuple(Extension(*row) for row in rows)


def sequences(conn: Connection, schemas: Sequence[str]) -> tuple[SequenceRecord, ...]:
    """Those of the schemas, with the values that they have now."""
    rows = conn.execute(
        """
        SELECT schemaname::text, sequencename::text, last_value, increment_by, cycle
        FROM pg_sequences
        WHERE schemaname = ANY (%(schemas)s)
        ORDER BY 1, 2
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return tuple(SequenceRecord(*row) for row in rows)


def schema_rights(conn: Connection, schemas: Sequence[str]) -> tuple[SchemaRights, ...]:
    """Owner and grants of each schema, those that a fresh schema has by itself included."""
    rows = conn.execute(
        """
        SELECT n.nspname::text, pg_get_userbyid(n.nspowner)::text,
               CASE WHEN acl.grantee = 0 THEN '' ELSE pg_get_userbyid(acl.grantee)::text END,
               acl.grantee = 0, acl.privilege_type, acl.is_grantable
        FROM pg_namespace n
        CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS acl
        WHERE n.nspname = ANY (%(schemas)s)
        ORDER BY 1, 4 DESC, 3, 5
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    grants: dict[tuple[str, str], list[Grant]] = {}
    for schema, owner, *grant in rows:
        grants.setdefault((schema, owner), []).append(Grant(*grant))
    return tuple(SchemaRights(schema, owner, tuple(given)) for (schema, owner), given in grants.items())


def roles(conn: Connection, schemas: Sequence[str]) -> tuple[str, ...]:
    """Every role that owns something in these schemas, is granted something on it, or is named by a policy."""
    rows = conn.execute(
        """
        WITH wanted AS (SELECT oid, nspowner, nspacl FROM pg_namespace WHERE nspname = ANY (%(schemas)s)),
        held AS (
            SELECT nspowner AS owner, nspacl AS acl FROM wanted
            UNION ALL
            SELECT relowner, relacl FROM pg_class WHERE relnamespace IN (SELECT oid FROM wanted)
            UNION ALL
            SELECT relowner, attacl FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
            WHERE attacl IS NOT NULL AND relnamespace IN (SELECT oid FROM wanted)
            UNION ALL
            SELECT proowner, proacl FROM pg_proc WHERE pronamespace IN (SELECT oid FROM wanted)
            UNION ALL
            SELECT typowner, typacl FROM pg_type WHERE typnamespace IN (SELECT oid FROM wanted)
            UNION ALL
            SELECT defaclrole, defaclacl FROM pg_default_acl WHERE defaclnamespace IN (SELECT oid FROM wanted)
        ),
        named AS (
            SELECT owner AS role FROM held
            UNION
            SELECT acl.grantee FROM held CROSS JOIN LATERAL aclexplode(held.acl) AS acl
            UNION
            SELECT acl.grantor FROM held CROSS JOIN LATERAL aclexplode(held.acl) AS acl
            UNION
            SELECT unnest(polroles) FROM pg_policy JOIN pg_class c ON c.oid = polrelid
            WHERE relnamespace IN (SELECT oid FROM wanted)
        )
        SELECT rolname::text
        FROM pg_roles
        WHERE oid IN (SELECT role FROM named) AND rolname NOT LIKE 'pg\\_%%'
        ORDER BY 1
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return tuple(row[0] for row in rows)


def words_left_out(conn: Connection, schemas: Sequence[str]) -> tuple[str, ...]:
    """What of the database is in none of these schemas, in words."""
    rows = conn.execute(
        """
        SELECT 'schema ' || nspname
        FROM pg_namespace
        WHERE nspname <> ALL (%(schemas)s) AND nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
        UNION ALL
        SELECT 'extension ' || extname
        FROM pg_extension
        WHERE extname <> 'plpgsql'
        UNION ALL
        SELECT 'publication ' || pubname
        FROM pg_publication
        UNION ALL
        SELECT 'event trigger ' || evtname
        FROM pg_event_trigger
        UNION ALL
        SELECT 'large objects'
        WHERE EXISTS (SELECT FROM pg_largeobject_metadata)
        ORDER BY 1
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return tuple(row[0] for row in rows)


def bring_back(conn: Connection, rights: Iterable[SchemaRights]) -> None:
    """Owner and grants of schemas as they were. In the caller's transaction; the roles must be there. Repeatable."""
    for each in rights:
        schema, owner = sql.Identifier(each.schema), sql.Identifier(each.owner)
        conn.execute(sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(schema, owner))
        conn.execute(sql.SQL("REVOKE ALL ON SCHEMA {} FROM PUBLIC").format(schema))
        for grant in each.grants:
            conn.execute(
                sql.SQL("GRANT {} ON SCHEMA {} TO {}{}").format(
                    sql.SQL("USAGE" if grant.privilege == "USAGE" else "CREATE"),
                    schema,
                    sql.SQL(PUBLIC) if grant.everybody else sql.Identifier(grant.role),
                    sql.SQL(" WITH GRANT OPTION" if grant.grantable else ""),
                )
            )
