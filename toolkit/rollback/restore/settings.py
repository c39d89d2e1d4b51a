"""Settings, rights and limits of a database itself: they follow its number, not its name, so a swap carries them over.

What our role may not carry over is told, not hidden.
"""

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.errors import DatabaseError

_GRANTS = """
SELECT privilege_type, coalesce(rolname, ''), is_grantable
FROM pg_database
CROSS JOIN LATERAL aclexplode(coalesce(datacl, acldefault('d', datdba)))
LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE datname = %(name)s AND grantee <> datdba
"""

_SETTINGS = """
SELECT coalesce(rolname, ''), split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
FROM pg_db_role_setting
JOIN pg_database ON pg_database.oid = setdatabase
CROSS JOIN LATERAL unnest(setconfig) AS setting
LEFT JOIN pg_roles ON pg_roles.oid = setrole
WHERE datname = %(name)s
ORDER BY 1, 2
"""

_CHANGE = """
SELECT format(CASE WHEN %(give)s THEN 'GRANT %%s ON DATABASE %%I TO %%s%%s'
                   ELSE 'REVOKE %%s ON DATABASE %%I FROM %%s%%s' END,
              %(privilege)s::text, %(name)s::text,
              CASE WHEN %(grantee)s = '' THEN 'PUBLIC' ELSE quote_ident(%(grantee)s) END,
              CASE WHEN %(give)s AND %(grantable)s THEN ' WITH GRANT OPTION' ELSE '' END)
"""

# a list of names stays a list; everything else is one literal
_SET = """
SELECT format('%%s SET %%I TO %%s',
              CASE WHEN %(role)s = '' THEN format('ALTER DATABASE %%I', %(name)s::text)
                   ELSE format('ALTER ROLE %%I IN DATABASE %%I', %(role)s::text, %(name)s::text) END,
              %(setting)s::text,
              CASE WHEN %(setting)s IN ('search_path', 'session_preload_libraries', 'local_preload_libraries')
                        AND %(value)s <> ''
                   THEN %(value)s ELSE quote_literal(%(value)s) END)
"""


def carry_settings(live: Database, above: Database, name: str, beside: str) -> list[str]:
    """Give the database `beside` what `name` has. What could not be carried over, a line each."""
    with live.reading() as conn:
        settings = conn.execute(_SETTINGS, {"name": name}).fetchall()
        wanted = set(conn.execute(_GRANTS, {"name": name}).fetchall())
        there = set(conn.execute(_GRANTS, {"name": beside}).fetchall())
        limit = conn.execute("SELECT datconnlimit FROM pg_database WHERE datname = %(name)s", {"name": name}).fetchone()
    assert limit is not None
    missing = []
    for role, setting, value in settings:
        missing += _try(above, _SET, {"name": beside, "role": role, "setting": setting, "value": value})
    for give, grants in ((False, there - wanted), (True, wanted - there)):
        for privilege, grantee, grantable in sorted(grants):
            told = {"give": give, "privilege": privilege, "grantee": grantee, "grantable": grantable, "name": beside}
            missing += _try(above, _CHANGE, told)
    with above.singly() as conn:
        conn.execute(
            sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(sql.Identifier(beside), sql.Literal(limit[0]))
        )
    return missing


def _try(above: Database, form: str, told: dict[str, object]) -> list[str]:
    """Let the server put the statement together, then run it. What it refused, by the setting's or right's name."""
    try:
        with above.writing() as conn:
            _run(conn, form, told)
    except DatabaseError as error:
        what = told.get("setting") or told.get("privilege")
        return [f"{what} of the database could not be carried over: {error.what}"]
    return []


def _run(conn: Connection, form: str, told: dict[str, object]) -> None:
    row = conn.execute(form.encode(), told).fetchone()
    assert row is not None
    conn.execute(row[0].encode())
