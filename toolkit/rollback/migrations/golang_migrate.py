"""golang-migrate, and whoever else numbers plain pairs of files: `001_name.up.sql` and `001_name.down.sql`.

Versions order as numbers, whatever their width, and end at an underscore (source/parse.go): beside such files one that
ends at a dash is none of its. A folder that has only dashes is somebody else's, who numbers plain files.
"""

import re
from pathlib import Path

from toolkit.errors import RollbackError
from toolkit.rollback.migrations.folder import LARGEST_VERSION, Script
from toolkit.rollback.migrations.layout import Entry, Layout, Listing, read_script, sql_files

_FILE = re.compile(r"(?P<version>[0-9]+)(?P<end>[_-])(?P<name>.*)\.(?P<direction>up|down)\.sql")


class GolangMigrate(Layout):
    name = "golang-migrate"
    looks = "001_events.up.sql"

    def claims(self, path: Path) -> bool:
        return any(_FILE.fullmatch(file.name) for file in sql_files(path))

    def read(self, path: Path) -> Listing:
        scripts: dict[tuple[int, str], tuple[str, str, Script]] = {}
        ignored = []
        end = "_" if any(_end(file) == "_" for file in sql_files(path)) else "-"
        for file in sql_files(path):
            match = _FILE.fullmatch(file.name)
            if match is None or match["end"] != end or int(match["version"]) > LARGEST_VERSION:
                ignored.append(file.name)
                continue
            key = int(match["version"]), match["direction"]
            if key in scripts:
                raise RollbackError(
                    f"Version {key[0]} has two files to go {key[1]}: {scripts[key][2].file} and {file.name}",
                    state="nothing was done",
                    next="give one of them another version, as the migration tool wants it",
                )
            scripts[key] = match["version"], match["name"], read_script(file)
        return Listing(_paired(scripts), ignored)


def _end(file: Path) -> str | None:
    match = _FILE.fullmatch(file.name)
    return match["end"] if match else None


def _paired(scripts: dict[tuple[int, str], tuple[str, str, Script]]) -> list[Entry]:
    found = []
    for version in sorted({version for version, _ in scripts}):
        up, down = scripts.get((version, "up")), scripts.get((version, "down"))
        _, name, _ = up or down or ("", "", None)
        found.append(Entry(str(version), name, version, up and up[2], down and down[2]))
    return found
