"""The Supabase CLI: `20240101000000_name.sql`. There are no downs: its own `migration down` resets the database.

Files order by name, as strings (pkg/migration/list.go).
"""

import re
from pathlib import Path

from toolkit.rollback.migrations.layout import Entry, Layout, Listing, read_script, refuse_doubles, sql_files

_FILE = re.compile(r"(?P<version>[0-9]+)_(?P<name>.*)\.sql")
_DATE_DIGITS = 14
_MARKED = re.compile(rb"^--\s*(migrate:up|\+goose\b)|^\s*--[\s-]*(up|down)\s+migration", re.MULTILINE | re.IGNORECASE)


class Supabase(Layout):
    name = "supabase"
    looks = "20240101000000_events.sql"

    def claims(self, path: Path) -> bool:
        """Timestamps without any marker of another tool."""
        found = [file for file in sql_files(path) if _FILE.fullmatch(file.name) and not _paired(file)]
        dated = any(len(file.name.split("_")[0]) == _DATE_DIGITS for file in found)
        return dated and not any(_MARKED.search(file.read_bytes()) for file in found)

    def read(self, path: Path) -> Listing:
        entries, ignored = [], []
        for file in sql_files(path):
            if (match := _FILE.fullmatch(file.name)) and not _paired(file):
                script = read_script(file)
                entries.append(Entry(match["version"], match["name"], int(match["version"]), script, None))
            else:
                ignored.append(file.name)
        refuse_doubles((entry.label, entry.up.file if entry.up else "") for entry in entries)
        return Listing(entries, ignored)


def _paired(file: Path) -> bool:
    return file.name.endswith((".up.sql", ".down.sql"))
