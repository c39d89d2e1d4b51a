"""Write privileges as the catalog holds them: read exactly, taken away, given back exactly.

Exact means grantee, grantor and grant option of each, on tables, columns, sequences and schemas. What is taken from a
role that granted it on is taken from those it granted it to as well, so all of it is saved first and given back in the
order in which it can be: by the owner, then by those who may grant again.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby

from toolkit.adapters.postgres import Connection, sql
from toolkit.errors import RollbackError
from toolkit.rollback.freeze.stages import Kind

PUBLIC = "public"  # no role can have this name

# The owner's own privileges are left alone: an owner could take them back.
_WRITE_PRIVILEGES = """
SELECT CASE pg_class.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind, nspname::text,
       pg_class.relname::text, '' AS column_name,
       CASE acl.grantee WHEN 0 THEN 'public' ELSE grantee.rolname::text END AS grantee,
       acl.privilege_type AS privilege, grantor.rolname::text AS grantor, acl.is_grantable,
       coalesce(served.relname, pg_class.relname)::text AS serves, owner.rolname::text AS owner
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
CROSS JOIN LATERAL aclexplode(pg_class.relacl) AS acl
JOIN pg_roles AS grantor ON grantor.oid = acl.grantor
JOIN pg_roles AS owner ON owner.oid = pg_class.relowner
LEFT JOIN pg_roles AS grantee ON grantee.oid = acl.grantee
LEFT JOIN LATERAL (
    SELECT owning.relname
    FROM pg_depend
    JOIN pg_class AS owning ON owning.oid = refobjid
    WHERE pg_class.relkind = 'S' AND classid = 'pg_class'::regclass AND objid = pg_class.oid
      AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')
    LIMIT 1
) AS served ON true
WHERE nspname = ANY (%(schemas)s) AND acl.grantee <> pg_class.relowner
  AND (pg_class.relkind IN ('r', 'p', 'v', 'f')
       AND acl.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
       OR pg_class.relkind = 'S' AND acl.privilege_type IN ('USAGE', 'UPDATE'))
UNION ALL
SELECT 'column', nspname, relname, attname,
       CASE acl.grantee WHEN 0 THEN 'public' ELSE grantee.rolname END,
       acl.privilege_type, grantor.rolname, acl.is_grantable, relname, owner.rolname
FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
CROSS JOIN LATERAL aclexplode(attacl) AS acl
JOIN pg_roles AS grantor ON grantor.oid = acl.grantor
JOIN pg_roles AS owner ON owner.oid = relowner
LEFT JOIN pg_roles AS grantee ON grantee.oid = acl.grantee
WHERE nspname = ANY (%(schemas)s) AND acl.grantee <> relowner AND NOT attisdropped
  AND acl.privilege_type IN ('INSERT', 'UPDATE')
UNION ALL
SELECT 'schema', nspname, '', '',
       CASE acl.grantee WHEN 0 THEN 'public' ELSE grantee.rolname END,
       acl.privilege_type, grantor.rolname, acl.is_grantable, '', owner.rolname
FROM pg_namespace
CROSS JOIN LATERAL aclexplode(nspacl) AS acl
JOIN pg_roles AS grantor ON grantor.oid = acl.grantor
JOIN pg_roles AS owner ON owner.oid = nspowner
LEFT JOIN pg_roles AS grantee ON grantee.oid = acl.grantee
WHERE nspname = ANY (%(schemas)s) AND acl.grantee <> nspowner AND acl.privilege_type = 'CREATE'
ORDER BY 1, 2, 3, 4, 5, 6, 7
"""


@dataclass(frozen=True, order=True)
class Privilege:
    """One privilege of one grantee on one thing, by one grantor. `grantable`: with the grant option.

    `column` is '' but for columns, `name` '' for schemas. A grantee 'public' is everybody.
    """

    kind: Kind
    schema: str
    name: str
    column: str
    grantee: str
    privilege: str
    grantor: str
    grantable: bool

    def __str__(self) -> str:
        thing = ".".join(part for part in (self.schema, self.name, self.column) if part)
        return f"{self.privilege} on {self.kind} {thing} to {self.grantee}"


@dataclass(frozen=True)
class Granted:
    """A privilege as the catalog has it now. `serves`: the table that a sequence belongs to, else the thing's name."""

    privilege: Privilege
    serves: str
    owner: str


def write_privileges(conn: Connection, schemas: Sequence[str], keep: Collection[str]) -> list[Granted]:
    """What anybody may write in these schemas, the owners and the roles in `keep` apart."""
    rows = conn.execute(_WRITE_PRIVILEGES, {"schemas": list(schemas)}).fetchall()
    found = [Granted(Privilege(*row[:8]), row[8], row[9]) for row in rows]
    return [each for each in found if each.privilege.grantee not in keep]


def in_schemas(privileges: Iterable[Privilege], names: Mapping[str, str]) -> list[Privilege]:
    """The same privileges on things of the same name in other schemas; a schema that is not named stays."""
    return [replace(each, schema=names.get(each.schema, each.schema)) for each in privileges]


def take_away(conn: Connection, granted: Sequence[Granted]) -> None:
    """Revoke all of these. What the owner granted goes first, and with it what was granted on."""
    owners = {each.privilege: each.owner for each in granted}
    _say(conn, "REVOKE", sorted(owners, key=lambda each: (each.grantor != owners[each], each.kind != "column", each)))


def give_back(conn: Connection, privileges: Sequence[Privilege]) -> None:
    """Grant all of these again. Who granted on what he had been given acts when he has got that back."""
    waiting = set(privileges)
    while waiting:
        ready = [each for each in waiting if not _waits(each, waiting)]
        _say(conn, "GRANT", sorted(ready))
        waiting -= set(ready)


def _say(conn: Connection, verb: str, privileges: Iterable[Privilege]) -> None:
    """GRANT or REVOKE these in their order, as few round trips as there are changes of grantor."""
    for grantor, groups in groupby(_grouped(privileges), key=lambda group: group[0].grantor):
        with acting_as(conn, grantor):
            conn.execute(sql.SQL("; ").join(_statement(verb, group) for group in groups))


def _waits(one: Privilege, waiting: Collection[Privilege]) -> bool:
    """Whether its grantor has not got back yet what he granted on. Two who wait for each other are not: the catalog
    holds no circles."""
    return any(
        other != one
        and other.grantee == one.grantor
        and other.grantable
        and (other.schema, other.name, other.privilege) == (one.schema, one.name, one.privilege)
        for other in waiting
    )


@contextmanager
def acting_as(conn: Connection, role: str) -> Iterator[None]:
    """In the name of a role, within the transaction: who grants is whoever acts. Raises RollbackError where we may not.

    Where its privileges are ours without becoming it, they are used as they are.
    """
    member = "SET" if conn.info.server_version >= 160000 else "MEMBER"
    row = conn.execute(
        """
        SELECT current_user, pg_has_role(%(role)s, %(member)s), pg_has_role(%(role)s, 'USAGE')
        """,
        {"role": role, "member": member},
    ).fetchone()
    assert row is not None
    before, may_become, has_privileges = row
    if not (may_become or has_privileges):
        raise RollbackError(
            f"{role} granted some of the privileges, and {before} is no member of it: they could not be given back",
            state="nothing was changed",
            next=f"GRANT {role} TO {before}; then try again",
        )
    if may_become:
        conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
    yield
    if may_become:
        conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(before)))


@contextmanager
def as_ourselves(conn: Connection) -> Iterator[None]:
    """As the role that logged in, within the transaction; then again as whoever the caller had become."""
    row = conn.execute("SELECT current_user, session_user").fetchone()
    assert row is not None
    conn.execute("SET LOCAL ROLE NONE")
    yield
    if row[0] != row[1]:
        conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(row[0])))


def _grouped(privileges: Iterable[Privilege]) -> list[list[Privilege]]:
    """Those that one statement can name together, in the order in which the first of each came."""
    groups: dict[Privilege, list[Privilege]] = defaultdict(list)
    for each in privileges:
        groups[replace(each, privilege="")].append(each)
    return list(groups.values())


def _statement(verb: str, group: Sequence[Privilege]) -> sql.Composed:
    """GRANT or REVOKE of the privileges of one group. REVOKE reaches those to whom it was granted on."""
    one = group[0]
    words = sql.SQL(", ").join(_word(each) for each in group)
    thing = sql.Identifier(one.schema) if one.kind == "schema" else sql.Identifier(one.schema, one.name)
    kind = {"schema": sql.SQL("SCHEMA"), "sequence": sql.SQL("SEQUENCE")}.get(one.kind, sql.SQL("TABLE"))
    grantee: sql.Composable = sql.SQL("PUBLIC") if one.grantee == PUBLIC else sql.Identifier(one.grantee)
    if verb == "REVOKE":
        return sql.SQL("REVOKE {} ON {} {} FROM {} CASCADE").format(words, kind, thing, grantee)
    option = sql.SQL(" WITH GRANT OPTION") if one.grantable else sql.SQL("")
    return sql.SQL("GRANT {} ON {} {} TO {}{}").format(words, kind, thing, grantee, option)


_WORDS = {word: sql.SQL(word) for word in ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "USAGE", "CREATE")}


def _word(privilege: Privilege) -> sql.Composable:
    word = _WORDS[privilege.privilege]
    if privilege.kind != "column":
        return word
    return sql.SQL("{} ({})").format(word, sql.Identifier(privilege.column))
