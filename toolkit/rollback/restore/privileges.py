"""Privileges of replaced objects as they were: who may do what with the live ones holds for the restored ones.

A restore can revive rights that were revoked since, and drop those that were given. In the swap's transaction the
restored objects therefore get the access lists of the live ones of the same name, a freeze's among them; what a new
object of the schema will get (default privileges) follows too.
"""

from dataclasses import asdict, dataclass

from toolkit.adapters.postgres import Connection

_GRANTS = """
WITH acl AS (
    SELECT 'SCHEMA' AS kind, nspname AS schema, '' AS name, '' AS column, nspowner AS owner,
           coalesce(nspacl, acldefault('n', nspowner)) AS acl
    FROM pg_namespace
    UNION ALL
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname, relname, '', relowner,
           coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT 'TABLE', nspname, relname, attname, relowner, attacl
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE attnum > 0 AND NOT attisdropped AND attacl IS NOT NULL
    UNION ALL
    SELECT 'ROUTINE', nspname, proname, pg_get_function_identity_arguments(pg_proc.oid), proowner,
           coalesce(proacl, acldefault('f', proowner))
    FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    UNION ALL
    SELECT 'TYPE', nspname, typname, '', typowner, coalesce(typacl, acldefault('T', typowner))
    FROM pg_type JOIN pg_namespace ON pg_namespace.oid = typnamespace
    WHERE typtype IN ('e', 'd', 'r')
)
SELECT kind, name, "column", coalesce(rolname, ''), privilege_type, is_grantable
FROM acl
CROSS JOIN LATERAL aclexplode(acl)
LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE schema = %(schema)s AND grantee <> owner
"""

_OBJECTS = """
SELECT 'SCHEMA', '', ''
UNION SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname, ''
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %(schema)s AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION SELECT 'TABLE', relname, attname
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %(schema)s AND relkind IN ('r', 'p', 'v', 'm', 'f') AND attnum > 0 AND NOT attisdropped
UNION SELECT 'ROUTINE', proname, pg_get_function_identity_arguments(pg_proc.oid)
FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE nspname = %(schema)s
UNION SELECT 'TYPE', typname, ''
FROM pg_type JOIN pg_namespace ON pg_namespace.oid = typnamespace
WHERE nspname = %(schema)s AND typtype IN ('e', 'd', 'r')
"""

_DEFAULTS = """
SELECT owner.rolname, defaclobjtype::text, coalesce(pg_roles.rolname, ''), privilege_type, is_grantable
FROM pg_default_acl
JOIN pg_roles AS owner ON owner.oid = defaclrole
CROSS JOIN LATERAL aclexplode(defaclacl)
LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE defaclnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
"""

_CHANGE_DEFAULT = """
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I ', %(owner)s::text)
    || CASE WHEN %(schema)s::text IS NULL THEN '' ELSE format('IN SCHEMA %%I ', %(schema)s::text) END
    || CASE WHEN %(give)s THEN 'GRANT ' ELSE 'REVOKE ' END
    || %(privilege)s::text
    || ' ON '
    || CASE %(objects)s WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES'
       WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS' ELSE 'TYPES' END
    || CASE WHEN %(give)s THEN ' TO ' ELSE ' FROM ' END
    || CASE WHEN %(grantee)s = '' THEN 'PUBLIC' ELSE format('%%I', %(grantee)s::text) END
    || CASE WHEN %(give)s AND %(grantable)s THEN ' WITH GRANT OPTION' ELSE '' END
"""

# the server puts the statement together, so that it quotes the names itself
_CHANGE = """
SELECT CASE WHEN %(give)s THEN 'GRANT ' ELSE 'REVOKE ' END
    || %(privilege)s::text
    || CASE WHEN %(column)s::text IS NULL THEN '' ELSE format(' (%%I)', %(column)s::text) END
    || format(' ON %%s ', %(kind)s::text)
    || CASE WHEN %(kind)s = 'SCHEMA' THEN format('%%I', %(schema)s::text)
            ELSE format('%%I.%%I', %(schema)s::text, %(name)s::text) END
    || CASE WHEN %(arguments)s::text IS NULL THEN '' ELSE format('(%%s)', %(arguments)s::text) END
    || CASE WHEN %(give)s THEN ' TO ' ELSE ' FROM ' END
    || CASE WHEN %(grantee)s = '' THEN 'PUBLIC' ELSE format('%%I', %(grantee)s::text) END
    || CASE WHEN %(give)s AND %(grantable)s THEN ' WITH GRANT OPTION' ELSE '' END
"""


@dataclass(frozen=True, order=True)
class Grant:
    """One right on one object. `column` is a column of a table, or the arguments of a routine; `grantee` '': PUBLIC."""

    kind: str
    name: str
    column: str
    grantee: str
    privilege: str
    grantable: bool


@dataclass(frozen=True, order=True)
class Default:
    """One right that what `owner` creates in the schema will have. `objects` is pg_default_acl.defaclobjtype."""

    owner: str
    objects: str
    grantee: str
    privilege: str
    grantable: bool


@dataclass(frozen=True)
class Rights:
    """Every right on a schema and on what is in it, the owners' own left out, and what is there to hold any: by kind,
    name, and column or arguments."""

    grants: frozenset[Grant]
    objects: frozenset[tuple[str, str, str]]
    defaults: frozenset[Default]


def rights_in(conn: Connection, schema: str) -> Rights:
    """Read them, under a search path that makes types' names whole."""
    conn.execute("SET LOCAL search_path = pg_catalog")
    grants = frozenset(Grant(*row) for row in conn.execute(_GRANTS, {"schema": schema}).fetchall())
    objects = frozenset((row[0], row[1], row[2]) for row in conn.execute(_OBJECTS, {"schema": schema}).fetchall())
    defaults = frozenset(Default(*row) for row in conn.execute(_DEFAULTS, {"schema": schema}).fetchall())
    conn.execute("RESET search_path")
    return Rights(grants, objects, defaults)


def carry_over(conn: Connection, schema: str, live: Rights) -> list[str]:
    """Give what is in `schema` now the rights that objects of the same names had in `live`.

    A routine is the same by its arguments, a column by its table's name and its own. What was not live keeps its own
    rights. Returns what a restore would have revived, in words.
    """
    now = rights_in(conn, schema)
    both = live.objects & now.objects
    wanted = {each for each in live.grants if (each.kind, each.name, each.column) in both}
    there = {each for each in now.grants if (each.kind, each.name, each.column) in both}
    for grant in sorted(there - wanted):
        _change(conn, schema, grant, give=False)
    for grant in sorted(wanted - there):
        _change(conn, schema, grant, give=True)
    for default in sorted(now.defaults - live.defaults):
        change_default(conn, schema, default, give=False)
    for default in sorted(live.defaults - now.defaults):
        change_default(conn, schema, default, give=True)
    return [
        f"{each.privilege} on {each.name or schema} was taken from {each.grantee or 'PUBLIC'} again"
        for each in sorted(there - wanted)
    ] + [
        f"{each.privilege} on what {each.owner} will create in {schema} was taken from {each.grantee or 'PUBLIC'} again"
        for each in sorted(now.defaults - live.defaults)
    ]


def change_default(conn: Connection, schema: str | None, default: Default, *, give: bool) -> None:
    """Give or take one, in a schema, or (None) in the database as a whole."""
    row = conn.execute(_CHANGE_DEFAULT, {"give": give, "schema": schema, **asdict(default)}).fetchone()
    assert row is not None
    conn.execute(row[0].encode())


def _change(conn: Connection, schema: str, grant: Grant, *, give: bool) -> None:
    row = conn.execute(
        _CHANGE,
        {
            "give": give,
            "kind": grant.kind,
            "schema": schema,
            "name": grant.name,
            "arguments": grant.column if grant.kind == "ROUTINE" else None,
            "column": grant.column if grant.kind == "TABLE" and grant.column else None,
            "grantee": grant.grantee,
            "privilege": grant.privilege,
            "grantable": grant.grantable,
        },
    ).fetchone()
    assert row is not None
    conn.execute(row[0].encode())
