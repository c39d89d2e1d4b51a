"""Prisma: a folder for each migration, `20240101000000_name/migration.sql`. There are no downs.

Folders order by name, as strings; the state table keeps the whole name (schema-engine, list_migrations).
"""

import re
from pathlib import Path

from toolkit.rollback.migrations.layout import Entry, Layout, Listing, read_script

_FOLDER = re.compile(r"(?P<number>[0-9]+)_?(?P<name>.*)")
_SCRIPT, _LOCK = "migration.sql", "migration_lock.toml"


class Prisma(Layout):
    name = "prisma"
    looks = "20240101000000_events/migration.sql"

    def claims(self, path: Path) -> bool:
        return (path / _LOCK).exists() or bool(_folders(path))

    def read(self, path: Path) -> Listing:
        return Listing(
            [_entry(folder) for folder in _folders(path)], [file.name for file in sorted(path.glob("*.sql"))]
        )


def _folders(path: Path) -> list[Path]:
    return [folder for folder in sorted(path.iterdir()) if (folder / _SCRIPT).exists()]


def _entry(folder: Path) -> Entry:
    match = _FOLDER.fullmatch(folder.name)
    number, name = (int(match["number"]), match["name"]) if match else (None, folder.name)
    return Entry(
        folder.name, name or folder.name, number, read_script(folder / _SCRIPT, f"{folder.name}/{_SCRIPT}"), None
    )
