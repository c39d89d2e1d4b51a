"""dbmate: one file with `-- migrate:up` and `-- migrate:down`, each with options such as `transaction:false`.

The version is the digits that a file's name begins with; files order by name, as strings (pkg/dbmate/migration.go).
"""

import re
from pathlib import Path

from toolkit.rollback.migrations.folder import Script
from toolkit.rollback.migrations.layout import (
    Entry,
    Layout,
    Listing,
    malformed,
    read_script,
    refuse_doubles,
    sql_files,
)

_FILE = re.compile(r"(?P<version>[0-9]+)_?(?P<name>.*)\.sql")
_UP = re.compile(rb"^--\s*migrate:up(?P<options>[^\r\n]*)", re.MULTILINE)
_DOWN = re.compile(rb"^--\s*migrate:down(?P<options>[^\r\n]*)", re.MULTILINE)


class Dbmate(Layout):
    name = "dbmate"
    looks = "20240101000000_events.sql with `-- migrate:up`"

    def claims(self, path: Path) -> bool:
        return any(_FILE.fullmatch(file.name) and _UP.search(file.read_bytes()) for file in sql_files(path))

    def read(self, path: Path) -> Listing:
        entries, ignored = [], []
        for file in sql_files(path):
            if match := _FILE.fullmatch(file.name):
                entries.append(_entry(file, match["version"], match["name"]))
            else:
                ignored.append(file.name)
        refuse_doubles((entry.label, entry.up.file if entry.up else "") for entry in entries)
        return Listing(entries, ignored)


def _entry(file: Path, version: str, name: str) -> Entry:
    content = read_script(file).content
    up, down = _UP.search(content), _DOWN.search(content)
    if up is None:
        raise malformed(file.name, "it has no `-- migrate:up`")
    if down is not None and down.start() < up.start():
        raise malformed(file.name, "`-- migrate:down` comes before `-- migrate:up`")
    if any(line.strip() and not line.lstrip().startswith(b"--") for line in content[: up.start()].splitlines()):
        raise malformed(file.name, "there is SQL above `-- migrate:up`")
    ends = down.start() if down else len(content)
    below = _section(file, content, down, len(content)) if down else None
    return Entry(version, name, int(version), _section(file, content, up, ends), below)


def _section(file: Path, content: bytes, marker: "re.Match[bytes]", end: int) -> Script:
    options = dict(pair.split(b":", 1) for pair in marker["options"].split() if pair.count(b":") == 1)
    return Script(
        file.name,
        content[marker.start() : end],
        transactional=options.get(b"transaction") != b"false",
        first_line=content.count(b"\n", 0, marker.start()) + 1,
    )
