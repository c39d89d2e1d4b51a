"""Ways to write that no privilege on a table stops, told as sentences: a person must know them, nobody can close them.

Functions that act as their owner, and owners who may log in. What a role of the application could use to write by
itself is no hole but a refusal (see `stopping`).
"""

from collections.abc import Iterator, Sequence

from toolkit.adapters.postgres import Connection
from toolkit.rollback.freeze.scope import Scope

NAMED = 5

# Read off the function's own text: whether it may write, not whether it does.
_DEFINERS = """
SELECT pg_proc.oid::regprocedure::text
FROM pg_proc
JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE prosecdef AND prokind IN ('f', 'p') AND prorettype <> 'trigger'::regtype
  AND nspname NOT IN ('pg_catalog', 'information_schema', 'toolkit')
  AND coalesce(nullif(prosrc, ''), pg_get_functiondef(pg_proc.oid))
      ~* '\\m(insert|update|delete|truncate|merge|execute|copy)\\M'
  AND EXISTS (
      SELECT
      FROM pg_roles
      WHERE rolname = ANY (%(application)s) AND has_function_privilege(pg_roles.oid, pg_proc.oid, 'EXECUTE'))
  AND EXISTS (
      SELECT
      FROM pg_class
      JOIN pg_namespace AS of_tables ON of_tables.oid = relnamespace
      WHERE of_tables.nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p', 'v', 'f')
        AND has_table_privilege(proowner, pg_class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))
ORDER BY 1
"""

_OWNERS = """
SELECT DISTINCT login.rolname::text
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_roles AS login ON login.rolcanlogin AND NOT login.rolsuper AND pg_has_role(login.oid, relowner, 'MEMBER')
WHERE nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p') AND login.rolname <> session_user
  AND NOT login.rolname = ANY (%(exempt)s)
ORDER BY 1
"""


def holes(conn: Connection, scope: Scope, application: Sequence[str]) -> Iterator[str]:
    """A sentence for each kind of hole."""
    parameters = {"schemas": list(scope.schemas), "application": list(application), "exempt": list(scope.exempt_roles)}
    definers = [row[0] for row in conn.execute(_DEFINERS, parameters).fetchall()]
    if definers:
        yield (
            f"{_some(definers)} may write in their owner's name, whoever calls them: "
            "the freeze does not stop what is written through them"
        )
    owners = [row[0] for row in conn.execute(_OWNERS, parameters).fetchall()]
    if owners:
        yield f"{_some(owners)} may log in and write as owner of the tables: nobody may use that meanwhile"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
