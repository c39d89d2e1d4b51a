"""How each migration tool's account is set by hand, after a migration was finished or undone by hand.

Pure. Where the tool has a command for it that is what is said; the SQL stands beside it for golang-migrate and for the
tools that keep one row for each version.
"""

from dataclasses import dataclass
from typing import LiteralString

from toolkit.adapters.postgres import sql
from toolkit.rollback.migrations import Migration, MigrationFolder
from toolkit.rollback.state_tables import Found


@dataclass(frozen=True)
class Recording:
    """`said` is for a person; `statements` do it, where plain SQL does."""

    said: str
    statements: tuple[str, ...] = ()


def recording(
    found: Found, folder: MigrationFolder, version: int | None, *, undone: Migration | None = None
) -> Recording:
    """Say that the schema is at `version` (None: before the first), after `undone` was undone, if it was."""
    label = "" if version is None else folder.migrations[version].label
    match found.tool:
        case "golang-migrate":
            return Recording(
                f"let golang-migrate say so: `migrate force {-1 if version is None else version}`",
                (_composed("DELETE FROM {}", found), *_golang_row(found, version)),
            )
        case "dbmate" | "diesel":
            return _by_rows(found, label, undone)
        case "Prisma":
            name = (undone or folder.migrations[version or 0]).label
            return Recording(f"`prisma migrate resolve --{'rolled-back' if undone else 'applied'} {name}`")
        case "the Supabase CLI":
            name = undone.label if undone else label
            return Recording(f"`supabase migration repair {name} --status {'reverted' if undone else 'applied'}`")
        case "Flyway":
            after = "`flyway repair` takes the failed line away" if undone else "mark its line as successful"
            return Recording(f"in {found.schema}.{found.table}: {after}")
    what = f"without {undone.label}" if undone else f"with {label}"
    return Recording(f"let {found.tool} say so: {found.schema}.{found.table} {what}, not failed")


def _golang_row(found: Found, version: int | None) -> tuple[str, ...]:
    if version is None:
        return ()
    return (_composed("INSERT INTO {} (version, dirty) VALUES ({}, false)", found, version),)


def _by_rows(found: Found, label: str, undone: Migration | None) -> Recording:
    if undone is not None:
        statement = _composed("DELETE FROM {} WHERE version = {}", found, undone.label)
        return Recording(f"take {undone.label} out of {found.tool}'s table", (statement,))
    statement = _composed("INSERT INTO {} (version) VALUES ({}) ON CONFLICT DO NOTHING", found, label)
    return Recording(f"put {label} into {found.tool}'s table", (statement,))


def _composed(text: LiteralString, found: Found, *values: str | int) -> str:
    literals = [sql.Literal(value) for value in values]
    return sql.SQL(text).format(sql.Identifier(found.schema, found.table), *literals).as_string()
