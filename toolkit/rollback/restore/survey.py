"""What hangs on the schemas that are to be replaced, read from the catalog: by it the way of a restore is chosen.

It reads in the caller's transaction, in bounded time, and judges nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection
from toolkit.rollback.backup.left_out import Extension, extensions
from toolkit.rollback.restore.other_schemas import outside_schemas
from toolkit.rollback.restore.publications import LISTS_SINCE
from toolkit.verify.fingerprints import OWN_SCHEMA

# objects of one schema that depend on objects of another, each by the schema in which it stands
_HANGING = """
WITH member AS (
    SELECT 'pg_class'::regclass AS class, oid, relnamespace AS namespace FROM pg_class
    UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
    UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type
    UNION ALL SELECT 'pg_constraint'::regclass, oid, connamespace FROM pg_constraint
    UNION ALL SELECT 'pg_rewrite'::regclass, r.oid, c.relnamespace FROM pg_rewrite r JOIN pg_class c ON c.oid = ev_class
    UNION ALL SELECT 'pg_trigger'::regclass, t.oid, c.relnamespace FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
    UNION ALL SELECT 'pg_attrdef'::regclass, a.oid, c.relnamespace FROM pg_attrdef a JOIN pg_class c ON c.oid = adrelid
    UNION ALL SELECT 'pg_policy'::regclass, p.oid, c.relnamespace FROM pg_policy p JOIN pg_class c ON c.oid = polrelid
)
SELECT DISTINCT
    CASE
        WHEN hanging.class = 'pg_constraint'::regclass THEN 'a foreign key'
        WHEN hanging.class = 'pg_proc'::regclass THEN 'a function'
        WHEN hanging.class = 'pg_trigger'::regclass THEN 'a trigger'
        WHEN hanging.class = 'pg_rewrite'::regclass THEN 'a view'
        WHEN hanging.class = 'pg_policy'::regclass THEN 'a policy'
        WHEN hanging.class = 'pg_attrdef'::regclass THEN 'a default'
        ELSE 'a table or type'
    END,
    there.nspname,
    CASE
        WHEN hanging.class = 'pg_rewrite'::regclass
            THEN (SELECT ev_class::regclass::text FROM pg_rewrite WHERE pg_rewrite.oid = hanging.oid)
        WHEN hanging.class = 'pg_constraint'::regclass
            THEN (SELECT conrelid::regclass::text FROM pg_constraint WHERE pg_constraint.oid = hanging.oid)
        WHEN hanging.class = 'pg_trigger'::regclass
            THEN (SELECT tgrelid::regclass::text FROM pg_trigger WHERE pg_trigger.oid = hanging.oid)
        ELSE (pg_identify_object(hanging.class, hanging.oid, 0)).identity
    END,
    here.nspname
FROM pg_depend
JOIN member AS hanging ON hanging.class = classid AND hanging.oid = objid
JOIN member AS held ON held.class = refclassid AND held.oid = refobjid
JOIN pg_namespace AS there ON there.oid = hanging.namespace
JOIN pg_namespace AS here ON here.oid = held.namespace
WHERE here.nspname = ANY (%(schemas)s)
  AND there.nspname <> ALL (%(schemas)s)
  AND there.nspname NOT LIKE 'pg\\_toast%%'
  AND deptype IN ('n', 'a')
ORDER BY 2, 1, 3
LIMIT 200
"""

_SCHEMAS = """
SELECT nspname, rolname, pg_has_role(nspowner, 'USAGE'),
       (SELECT count(*) FROM pg_class
        WHERE relnamespace = n.oid AND relkind IN ('r', 'p') AND NOT pg_has_role(relowner, 'USAGE')
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')),
       (SELECT count(*) FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        JOIN pg_type ON pg_type.oid = atttypid
        WHERE relnamespace = n.oid AND relkind IN ('r', 'p') AND typtype = 'e' AND attnum > 0 AND NOT attisdropped)
FROM pg_namespace n
JOIN pg_roles ON pg_roles.oid = nspowner
WHERE nspname = ANY (%(schemas)s)
ORDER BY nspname
"""

# one that names tables must be changed; one of a whole schema or of all tables follows by itself
_PUBLICATIONS = """
SELECT pubname, pg_has_role(pubowner, 'USAGE'), false
FROM pg_publication
WHERE EXISTS (
    SELECT
    FROM pg_publication_rel
    JOIN pg_class ON pg_class.oid = prrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE prpubid = pg_publication.oid AND nspname = ANY (%(schemas)s))
UNION ALL
SELECT pubname, true, true FROM pg_publication WHERE puballtables
"""

_PUBLICATIONS_OF_SCHEMAS = """
SELECT DISTINCT pubname, true, false
FROM pg_publication
JOIN pg_publication_namespace ON pnpubid = pg_publication.oid
JOIN pg_namespace ON pg_namespace.oid = pnnspid
WHERE nspname = ANY (%(schemas)s)
"""

_SERVER = """
SELECT (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user),
       pg_has_role(datdba, 'USAGE'),
       has_database_privilege(datname, 'CREATE'),
       has_database_privilege('postgres', 'CONNECT'),
       (SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname <> current_user
          AND EXISTS (SELECT FROM pg_stat_activity WHERE datname = d.datname AND usename = rolname)),
       (SELECT count(*) FROM pg_replication_slots WHERE database = d.datname)
FROM pg_database d
WHERE datname = current_database()
"""


# those that need no superuser, or that the server trusts whoever may create something in the database with
_CREATABLE = """
SELECT DISTINCT e.name
FROM pg_available_extensions AS e
JOIN pg_available_extension_versions AS v ON v.name = e.name AND v.version = e.default_version
WHERE NOT superuser OR trusted OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
"""


@dataclass(frozen=True)
class Hanging:
    """An object of another schema that depends on one of ours: `what` (a view, a foreign key, …), where, its name."""

    what: str
    schema: str
    name: str
    on: str

    def __str__(self) -> str:
        return f"{self.what} of schema {self.schema} ({self.name})"


@dataclass(frozen=True)
class SchemaSurvey:
    """One schema that is to be replaced. `ours`: we may act as its owner; `foreign_tables`: tables that are not ours.

    `enum_columns`: columns of tables whose values a pool may have registered by type.
    """

    name: str
    owner: str
    ours: bool
    foreign_tables: int
    enum_columns: int


@dataclass(frozen=True)
class Survey:
    """What is there. `others` are schemas beside ours, the server's own and the toolkit's left out.

    `may_create_database`, `owns_database`, `may_create_schema`, `reaches_maintenance`: what our role may do.
    `publications`: by name, whether we may change them. `superusers`: sessions of theirs, which we cannot end.
    `everywhere`: those of all tables. `outside`: what belongs to the database and to none of its schemas.
    `extensions`: the database's; `creatable`: those of the server that our role may create in a database of its own.
    """

    schemas: tuple[SchemaSurvey, ...]
    others: tuple[str, ...]
    hanging: tuple[Hanging, ...]
    publications: tuple[tuple[str, bool], ...]
    may_create_database: bool
    owns_database: bool
    may_create_schema: bool
    reaches_maintenance: bool
    superusers: int
    slots: int
    outside: tuple[str, ...] = ()
    everywhere: tuple[str, ...] = ()
    extensions: tuple[Extension, ...] = ()
    creatable: frozenset[str] = frozenset()

    @property
    def enum_columns(self) -> int:
        return sum(each.enum_columns for each in self.schemas)


def survey_schemas(conn: Connection, schemas: Sequence[str]) -> Survey:
    """Look at what is to be replaced, and at what hangs on it."""
    wanted = {"schemas": list(schemas)}
    others = conn.execute(
        """
        SELECT nspname
        FROM pg_namespace
        WHERE nspname <> ALL (%(schemas)s) AND nspname NOT LIKE 'pg\\_%%' AND nspname NOT LIKE 'restored\\_%%'
          AND nspname NOT LIKE 'damaged\\_%%' AND nspname NOT LIKE 'salvage\\_%%'
          AND nspname NOT IN ('information_schema', %(own)s)
        ORDER BY 1
        """,
        wanted | {"own": OWN_SCHEMA},
    ).fetchall()
    hanging = [Hanging(*row) for row in conn.execute(_HANGING, wanted).fetchall()]
    published = conn.execute(_PUBLICATIONS, wanted).fetchall()
    if conn.info.server_version >= LISTS_SINCE:
        published += conn.execute(_PUBLICATIONS_OF_SCHEMAS, wanted).fetchall()
    server = conn.execute(_SERVER).fetchone()
    assert server is not None
    return Survey(
        schemas=tuple(SchemaSurvey(row[0], row[1], row[2], row[3], row[4]) for row in conn.execute(_SCHEMAS, wanted)),
        others=tuple(row[0] for row in others),
        hanging=tuple(each for each in hanging if not each.schema.startswith(("restored_", "damaged_"))),
        publications=tuple(
            (name, all(ours for other, ours, _ in published if other == name))
            for name in sorted({row[0] for row in published})
        ),
        may_create_database=server[0],
        owns_database=server[1],
        may_create_schema=server[2],
        reaches_maintenance=server[3],
        superusers=server[4],
        slots=server[5],
        outside=tuple(outside_schemas(conn)),
        everywhere=tuple(name for name, _, everywhere in published if everywhere),
        extensions=extensions(conn),
        creatable=frozenset(row[0] for row in conn.execute(_CREATABLE).fetchall()),
    )
