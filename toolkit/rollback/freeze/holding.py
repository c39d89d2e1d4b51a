"""Hold a freeze across migrations, restores and swaps, in the transactions that would otherwise open it.

A migration may grant; tables that are swapped in have privileges of their own, and what a database or a schema was told
does not follow its name. So whoever changes tables while writes are frozen asks here, before his transaction ends.
"""

from collections.abc import Mapping

from toolkit.adapters.postgres import Connection, Database
from toolkit.rollback.freeze import record
from toolkit.rollback.freeze.privileges import Granted, Privilege, as_ourselves, in_schemas, write_privileges
from toolkit.rollback.freeze.record import Frozen
from toolkit.rollback.freeze.taking import kept, staged, take_all


def tighten(conn: Connection) -> int:
    """In a transaction that has created or granted something (a migration): what it gave to write is frozen too.

    Nothing happens where nothing is frozen, or where it is released in part. Returns how many privileges.
    """
    return _freeze_again(conn, {}, keep_known=True)


def reapply(conn: Connection, schema_map: Mapping[str, str] | None = None) -> int:
    """In a transaction that swaps other tables in: they are frozen as those that they replace.

    `schema_map` is keyed by the application's name of a schema and tells under which name its new tables stand at this
    moment; {} where they have it already. What is given back in the end is what the replaced ones had, so that a
    restore revives no right that was taken since; what only the new ones hold is kept as theirs. Returns how many
    privileges were revoked.
    """
    return _freeze_again(conn, schema_map or {}, keep_known=False)


def writable(database: Database, there: Frozen) -> int:
    """How many write privileges there are although it is frozen: granted by somebody since."""
    with database.reading() as conn:
        return len(write_privileges(conn, there.scope.schemas, kept(conn, there.scope)))


def _freeze_again(conn: Connection, schema_map: Mapping[str, str], *, keep_known: bool) -> int:
    with as_ourselves(conn):
        there = record.frozen_in(conn)
        if there is None or there.stage is not None:
            return 0
        standing = {name: schema_map.get(name, name) for name in there.scope.schemas}
        ours = {there_now: name for name, there_now in standing.items()}
        revoked = take_all(conn, list(standing.values()), kept(conn, there.scope))
        named = [Granted(in_schemas([each.privilege], ours)[0], each.serves, each.owner) for each in revoked]
        known = record.known_things(conn, there.id)
        new = [each for each in named if keep_known or _thing(each.privilege) not in known]
        record.save(conn, there.id, staged(new, there.scope))
        return len(revoked)


def _thing(privilege: Privilege) -> str:
    return f"{privilege.schema}.{privilege.name}"
