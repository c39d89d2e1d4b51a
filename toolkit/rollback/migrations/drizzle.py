"""Drizzle: `meta/_journal.json` gives the order, `0000_name.sql` the script. There are no downs.

The state table keeps the moment of a journal entry (`when`, milliseconds since 1970), which is its version here.
"""

import json
from pathlib import Path

from toolkit.rollback.migrations.layout import Entry, Layout, Listing, malformed, read_script, sql_files

_JOURNAL = "meta/_journal.json"


class Drizzle(Layout):
    name = "drizzle"
    looks = _JOURNAL

    def claims(self, path: Path) -> bool:
        return (path / _JOURNAL).exists()

    def read(self, path: Path) -> Listing:
        entries = [_entry(path, when, tag) for when, tag in _listed(path)]
        named = {f"{entry.name}.sql" for entry in entries}
        return Listing(entries, [file.name for file in sql_files(path) if file.name not in named])


def _listed(path: Path) -> list[tuple[int, str]]:
    """The moment and the file of each entry, in the journal's order."""
    try:
        journal = json.loads(read_script(path / _JOURNAL, _JOURNAL).content)
        return [(int(entry["when"]), str(entry["tag"])) for entry in journal["entries"]]
    except (ValueError, KeyError, TypeError):
        raise malformed(_JOURNAL, "it is no journal of Drizzle's") from None


def _entry(path: Path, when: int, tag: str) -> Entry:
    return Entry(str(when), tag, when, read_script(path / f"{tag}.sql"), None)
