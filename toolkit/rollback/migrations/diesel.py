"""Diesel: a folder for each migration, `2024-01-01-000000_name`, with `up.sql` and `down.sql`.

The version is what stands before the first underscore, its dashes removed; versions order as strings
(diesel_migrations, file_based_migrations.rs). `metadata.toml` may ask for no transaction.
"""

import re
import tomllib
from pathlib import Path

from toolkit.rollback.migrations.folder import Script
from toolkit.rollback.migrations.layout import Entry, Layout, Listing, malformed, read_script, refuse_doubles

_FOLDER = re.compile(r"(?P<version>[0-9][0-9-]*)_(?P<name>.*)")
_METADATA = "metadata.toml"


class Diesel(Layout):
    name = "diesel"
    looks = "2024-01-01-000000_events/up.sql"

    def claims(self, path: Path) -> bool:
        return bool(_folders(path))

    def read(self, path: Path) -> Listing:
        found = _folders(path)
        found.sort(key=_version)
        refuse_doubles((_version(folder), folder.name) for folder in found)
        return Listing([_entry(folder) for folder in found], [file.name for file in sorted(path.glob("*.sql"))])


def _folders(path: Path) -> list[Path]:
    return [
        folder for folder in sorted(path.iterdir()) if _FOLDER.fullmatch(folder.name) and (folder / "up.sql").exists()
    ]


def _version(folder: Path) -> str:
    match = _FOLDER.fullmatch(folder.name)
    assert match is not None
    return match["version"].replace("-", "")


def _entry(folder: Path) -> Entry:
    match = _FOLDER.fullmatch(folder.name)
    assert match is not None
    version = _version(folder)
    return Entry(version, match["name"], int(version), _script(folder, "up.sql"), _script(folder, "down.sql"))


def _script(folder: Path, file: str) -> Script | None:
    if not (folder / file).exists():
        return None
    script = read_script(folder / file, f"{folder.name}/{file}")
    return Script(script.file, script.content, transactional=_transactional(folder))


def _transactional(folder: Path) -> bool:
    file = folder / _METADATA
    if not file.exists():
        return True
    try:
        return bool(tomllib.loads(read_script(file).content.decode()).get("run_in_transaction", True))
    except tomllib.TOMLDecodeError as error:
        raise malformed(f"{folder.name}/{_METADATA}", "it is no TOML") from error
