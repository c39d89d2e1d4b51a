"""Reading a folder of migrations: whose layout it is, and what it holds."""

from collections.abc import Mapping
from pathlib import Path

from toolkit.errors import RollbackError, UsageError
from toolkit.rollback.migrations.dbmate import Dbmate
from toolkit.rollback.migrations.diesel import Diesel
from toolkit.rollback.migrations.drizzle import Drizzle
from toolkit.rollback.migrations.flyway import Flyway
from toolkit.rollback.migrations.folder import MigrationFolder
from toolkit.rollback.migrations.golang_migrate import GolangMigrate
from toolkit.rollback.migrations.goose import Goose
from toolkit.rollback.migrations.layout import Layout, numbered
from toolkit.rollback.migrations.node_pg_migrate import NodePgMigrate
from toolkit.rollback.migrations.prisma import Prisma
from toolkit.rollback.migrations.sqitch import Sqitch
from toolkit.rollback.migrations.supabase import Supabase

_ALL: tuple[Layout, ...] = (
    *(GolangMigrate(), Diesel(), Dbmate(), Goose(), NodePgMigrate()),
    *(Flyway(), Supabase(), Prisma(), Drizzle(), Sqitch()),
)
LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in _ALL}


def read_folder(path: Path, layout: str = "") -> MigrationFolder:
    """Read a folder of migrations, in the layout of that name, or (empty) in the one that it is recognised by.

    Raises UsageError when there is no folder or it holds none, for an unknown layout, and when it looks like several
    tools'; RollbackError for two files of one version and direction, for what the tool itself would refuse, and for a
    file that cannot be read or is not UTF-8.
    """
    if not path.is_dir():
        raise UsageError(f"There is no folder of migrations at {path}", next="name it in the playbook: `migrations`")
    try:
        chosen = _named(layout) if layout else _recognised(path)
        listing = chosen.read(path)
    except OSError as error:
        raise RollbackError(f"{path} cannot be read: {error.strerror}", state="nothing was done") from None
    if not listing.entries:
        raise UsageError(f"{path} holds no migration", next=f"files are named as in {chosen.looks}")
    migrations, places = numbered(listing.entries)
    return MigrationFolder(
        path,
        migrations,
        tuple(listing.ignored),
        chosen.name,
        tuple(listing.repeatable),
        (*listing.said, *([places] if places else [])),
    )


def _named(layout: str) -> Layout:
    found = LAYOUTS.get(layout.casefold())
    if found is None:
        raise UsageError(f"There is no layout of migrations called {layout}", next=f"name one of {', '.join(LAYOUTS)}")
    return found


def _recognised(path: Path) -> Layout:
    candidates = [layout for layout in _ALL if layout.claims(path)]
    if not candidates:
        looks = "; ".join(f"{layout.looks} ({layout.name})" for layout in _ALL)
        raise UsageError(f"{path} holds no migration", next=f"files are named as in {looks}")
    if len(candidates) > 1:
        named = ", ".join(f"{layout.name} ({layout.looks})" for layout in candidates)
        raise UsageError(
            f"{path} looks like the migrations of several tools: {named}",
            state="nothing was read",
            next="name the layout, or keep the other tool's files elsewhere",
        )
    return candidates[0]
