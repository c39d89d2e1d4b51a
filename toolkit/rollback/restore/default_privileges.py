"""Default privileges of a database as a whole (no schema named): they belong to the database, not to its name.

A swap of schemas and a reload leave them where they are. Another database of the same name would not have them: a dump
of schemas does not hold them. They replace what is built in for a role and a kind of object, so what is compared is
what counts in the end, PUBLIC's rights and the role's own among it.
"""

from toolkit.adapters.postgres import Connection, Database
from toolkit.errors import DatabaseError
from toolkit.rollback.restore.privileges import Default, change_default

_SET = """
SELECT rolname, defaclobjtype::text
FROM pg_default_acl
JOIN pg_roles ON pg_roles.oid = defaclrole
WHERE defaclnamespace = 0
"""

_IN_THE_END = """
SELECT owner.rolname, objects, coalesce(grantee.rolname, ''), privilege_type, is_grantable
FROM unnest(%(owners)s::text[], %(objects)s::text[]) AS pair (name, objects)
JOIN pg_roles AS owner ON owner.rolname = pair.name
LEFT JOIN pg_default_acl
    ON defaclrole = owner.oid AND defaclnamespace = 0 AND defaclobjtype = objects::"char"
CROSS JOIN LATERAL aclexplode(coalesce(
    defaclacl, acldefault((CASE objects WHEN 'S' THEN 's' ELSE objects END)::"char", owner.oid))) AS acl
LEFT JOIN pg_roles AS grantee ON grantee.oid = acl.grantee
"""


def carry_defaults(live: Database, copy: Database) -> list[str]:
    """Give the copy what the live database has. What could not be carried over, a line each. Raises DatabaseError."""
    with live.reading() as there, copy.reading() as here:
        pairs = _set(there) | _set(here)
        wanted, now = _in_the_end(there, pairs), _in_the_end(here, pairs)
    missing = []
    for give, defaults in ((False, now - wanted), (True, wanted - now)):
        for default in sorted(defaults):
            missing += _try(copy, default, give=give)
    return missing


def _set(conn: Connection) -> frozenset[tuple[str, str]]:
    """For which role and kind of object something is set."""
    return frozenset((row[0], row[1]) for row in conn.execute(_SET).fetchall())


def _in_the_end(conn: Connection, pairs: frozenset[tuple[str, str]]) -> frozenset[Default]:
    named = {"owners": [owner for owner, _ in pairs], "objects": [objects for _, objects in pairs]}
    return frozenset(Default(*row) for row in conn.execute(_IN_THE_END, named).fetchall())


def _try(copy: Database, default: Default, *, give: bool) -> list[str]:
    try:
        with copy.writing() as conn:
            change_default(conn, None, default, give=give)
    except DatabaseError as error:
        how = f"{'given to' if give else 'taken from'} {default.grantee or 'PUBLIC'}"
        return [f"{default.privilege} on what {default.owner} will create could not be {how}: {error.what}"]
    return []
