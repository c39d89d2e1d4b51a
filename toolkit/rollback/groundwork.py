"""What a service's migrations expect to find, read from the live database, and made alike on a scratch server.

Migrations do not make everything: roles, extensions of the platform, who owns the schema `public`, default privileges.
Owns telling that apart from what the migrations make, so that the live schema can be compared with a built one. It
reads the live database only, and makes things on a scratch server only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.errors import DatabaseError
from toolkit.progress import Advance, no_advance
from toolkit.rollback.backup.left_out import Extension, SchemaRights, bring_back, extensions, roles, schema_rights
from toolkit.rollback.building import Laid
from toolkit.rollback.migrations import MigrationFolder
from toolkit.rollback.scratch import Built, Scratch, create_extension
from toolkit.rollback.sql_lexer import SqlError
from toolkit.rollback.state_tables import find_state_tables
from toolkit.verify.fingerprints import SchemaObject, SchemaSignature, schema_signature

FIRST_SCHEMA = "public"  # there before the first migration
_OBJECTS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES"}


@dataclass(frozen=True)
class DefaultPrivilege:
    """One entry of pg_default_acl. `grantee` '' is everybody; `schema` None: in every schema."""

    role: str
    schema: str | None
    objects: str
    privilege: str
    grantee: str


@dataclass(frozen=True)
class Groundwork:
    """`state_tables` are `schema.table` of whatever migration tool keeps its account there."""

    schemas: tuple[str, ...]
    owner: str
    roles: tuple[str, ...]
    extensions: tuple[Extension, ...]
    rights: tuple[SchemaRights, ...]
    defaults: tuple[DefaultPrivilege, ...]
    state_tables: tuple[str, ...]
    made: frozenset[str] = frozenset()  # extensions that the migrations create themselves
    schemas_made: frozenset[str] = frozenset()  # and schemas

    def of(self, signature: SchemaSignature) -> SchemaSignature:
        """What of a signature the migrations answer for: without state tables and the platform's extensions."""
        return replace(signature, objects=tuple(each for each in signature.objects if self._counts(each)))

    def _counts(self, each: SchemaObject) -> bool:
        if each.kind == "extension":
            return each.name in self.made
        return not any(_belongs(each, table) for table in self.state_tables)

    def lay(self, database: Database) -> Laid:
        """Make it in an empty database on a scratch server, as far as that can be done there."""
        missing: dict[bool, list[str]] = {True: [], False: []}
        for each in self.extensions:
            if each.name in self.made:
                continue
            try:
                with database.writing() as conn:
                    create_extension(conn, each.name, each.schema)
            except DatabaseError as error:
                missing[each.needed].append(f"extension {each.name}: {error.what}")
        with database.writing() as conn:
            bring_back(conn, self.rights)
            for default in self.defaults:
                _grant_by_default(conn, default)
        return Laid(tuple(missing[True]), tuple(missing[False]))


def read_groundwork(conn: Connection, schemas: Sequence[str], folder: MigrationFolder, state_table: str) -> Groundwork:
    """Ask the live database, in the caller's transaction. `state_table` is the playbook's. Raises DatabaseError."""
    found = find_state_tables(conn, state_table)
    tables = tuple(f"{each.schema}.{each.table}" for each in found)
    return Groundwork(
        schemas=tuple(schemas),
        owner=_owner(conn, schemas, tables),
        roles=roles(conn, schemas),
        extensions=extensions(conn),
        rights=schema_rights(conn, [FIRST_SCHEMA]),
        defaults=_defaults(conn),
        state_tables=tables,
        made=frozenset(_created(folder, "extension")),
        schemas_made=frozenset(_created(folder, "schema")),
    )


def build_alike(
    scratch: Scratch,
    ground: Groundwork,
    folder: MigrationFolder,
    version: int | None,
    name: str,
    *,
    advance: Advance = no_advance,
) -> Built:
    """The schema of a version on the scratch server, upon the same groundwork as the live one's."""
    return scratch.built(
        folder, version, name, roles=ground.roles, owner=ground.owner, prepare=ground.lay, advance=advance
    )


def signature_of(conn: Connection, ground: Groundwork) -> SchemaSignature:
    """What the migrations answer for, in the caller's transaction."""
    return ground.of(schema_signature(conn, ground.schemas))


def unmanaged_schemas(built: SchemaSignature, live: SchemaSignature, ground: Groundwork) -> set[str]:
    """Schemas of the live one that have content of which the migrations make nothing, at whatever version."""
    return _with_content(live) - _with_content(built) - ground.schemas_made - {FIRST_SCHEMA}


def without(signature: SchemaSignature, schemas: Iterable[str]) -> SchemaSignature:
    """The objects that stand in none of these schemas."""
    aside = set(schemas)
    return replace(signature, objects=tuple(each for each in signature.objects if schema_of(each) not in aside))


def schema_of(each: SchemaObject) -> str:
    """The schema that an object stands in; '' for one that stands in none."""
    text = each.table or each.name
    if each.kind in ("owner", "grant"):
        what, _, text = text.partition(" on ")[2].partition(" ") if each.kind == "grant" else text.partition(" ")
        if what == "schema":
            return _first_name(text.rpartition(" to ")[0] if each.kind == "grant" else text)
    if each.kind == "default privilege":
        text = text.partition(" in ")[2].partition(" by ")[0]
    if each.kind == "constraint" and each.table is None:
        text = text.partition(" on ")[2]
    return _first_name(text)


def _first_name(text: str) -> str:
    """The first identifier of a dotted name, without its quotes."""
    if text.startswith('"'):
        return text[1 : text.index('"', 1)]
    return text.partition(".")[0]


def _with_content(signature: SchemaSignature) -> set[str]:
    aside = ("schema", "owner", "grant", "default privilege", "extension")
    return {schema_of(each) for each in signature.objects if each.kind not in aside}


def _belongs(each: SchemaObject, table: str) -> bool:
    """Whether an object is that table, or a part of it, or a right on it."""
    if each.table == table or each.name == f"table {table}" or f" on table {table} to " in each.name:
        return True
    name = each.name.partition(" on sequence ")[2].rpartition(" to ")[0] if each.kind == "grant" else each.name
    return name.removeprefix("sequence ").startswith(f"{table}_") and "sequence" in (each.kind, *each.name.split()[:4])


def _owner(conn: Connection, schemas: Sequence[str], state_tables: Sequence[str]) -> str:
    """Who runs the migrations: whoever owns the state table; without one, whoever owns most tables."""
    row = conn.execute(
        """
        SELECT pg_get_userbyid(relowner)::text
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relkind IN ('r', 'p')
          AND (nspname = ANY (%(schemas)s) OR nspname || '.' || relname = ANY (%(tables)s))
        GROUP BY relowner
        ORDER BY bool_or(nspname || '.' || relname = ANY (%(tables)s)) DESC, count(*) DESC
        LIMIT 1
        """,
        {"schemas": list(schemas), "tables": list(state_tables)},
    ).fetchone()
    return str(row[0]) if row else ""


def _defaults(conn: Connection) -> tuple[DefaultPrivilege, ...]:
    rows = conn.execute(
        """
        SELECT pg_get_userbyid(defaclrole)::text,
               (SELECT nspname::text FROM pg_namespace WHERE oid = defaclnamespace),
               defaclobjtype::text,
               acl.privilege_type,
               CASE acl.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(acl.grantee)::text END
        FROM pg_default_acl
        CROSS JOIN LATERAL aclexplode(defaclacl) AS acl
        ORDER BY 1, 2, 3, 4, 5
        """
    ).fetchall()
    return tuple(DefaultPrivilege(*row) for row in rows)


def _grant_by_default(conn: Connection, each: DefaultPrivilege) -> None:
    """Only what holds before the first migration: in `public`, or in every schema, among roles that are there."""
    there = {name for (name,) in conn.execute("SELECT rolname FROM pg_roles").fetchall()} | {""}
    if (
        each.objects not in _OBJECTS
        or each.schema not in (None, FIRST_SCHEMA)
        or not {each.role, each.grantee} <= there
    ):
        return
    conn.execute(
        sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} {} GRANT {} ON {} TO {}").format(
            sql.Identifier(each.role),
            sql.SQL("IN SCHEMA {}").format(sql.Identifier(each.schema)) if each.schema else sql.SQL(""),
            sql.SQL(each.privilege),
            sql.SQL(_OBJECTS[each.objects]),
            sql.Identifier(each.grantee) if each.grantee else sql.SQL("PUBLIC"),
        )
    )


def _created(folder: MigrationFolder, thing: str) -> Iterable[str]:
    """Names of the schemas or extensions that some up creates, as far as its text tells."""
    for migration in folder.migrations.values():
        try:
            found = migration.up.statements if migration.up else []
        except SqlError:
            continue
        for statement in found:
            if statement.begins("create", thing):
                at = 5 if statement.begins("create", thing, "if", "not", "exists") else 2
                yield from (token.text for token in statement.tokens[at : at + 1])
