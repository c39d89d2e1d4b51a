"""node-pg-migrate's SQL files: one file with `-- Up Migration` and `-- Down Migration`.

The state table keeps the file's name without `.sql`. Files order by the number that they begin with, one of 17 digits
being a date and one of 13 the milliseconds since 1970, then by name (src/migration.ts).
"""

import re
from datetime import UTC, datetime
from pathlib import Path

from toolkit.rollback.migrations.folder import Script
from toolkit.rollback.migrations.layout import Entry, Layout, Listing, read_script, sql_files

_PREFIX = re.compile(r"(?P<number>[0-9]+)(?:_(?P<name>.*))?")
_UP = re.compile(rb"^\s*--[\s-]*up\s+migration", re.MULTILINE | re.IGNORECASE)
_DOWN = re.compile(rb"^\s*--[\s-]*down\s+migration", re.MULTILINE | re.IGNORECASE)
_DATE_DIGITS = 17


class NodePgMigrate(Layout):
    name = "node-pg-migrate"
    looks = "1700000000000_events.sql with `-- Up Migration`"

    def claims(self, path: Path) -> bool:
        return any(
            not file.name.endswith((".up.sql", ".down.sql")) and (_UP.search(content) or _DOWN.search(content))
            for file in sql_files(path)
            if (content := file.read_bytes())
        )

    def read(self, path: Path) -> Listing:
        entries = [_entry(file) for file in sql_files(path)]
        entries.sort(key=lambda entry: (_moment(entry.number or 0), _natural(entry.label)))
        others = [file.name for suffix in ("js", "ts", "cjs", "mjs") for file in sorted(path.glob(f"*.{suffix}"))]
        said = [f"{', '.join(others)}: migrations written in JavaScript are not read"] if others else []
        return Listing(entries, said=said)


def _entry(file: Path) -> Entry:
    """A file without an up marker is all up; either section may come first."""
    content = read_script(file).content
    up, down = _UP.search(content), _DOWN.search(content)
    prefix = _PREFIX.fullmatch(file.stem)
    return Entry(
        file.stem,
        (prefix["name"] if prefix else None) or file.stem,
        int(prefix["number"]) if prefix else None,
        _section(file, content, up, down) if up else Script(file.name, content),
        _section(file, content, down, up) if down else None,
    )


def _section(file: Path, content: bytes, marker: "re.Match[bytes]", other: "re.Match[bytes] | None") -> Script:
    begins = marker.start() + len(marker[0]) - len(marker[0].lstrip())
    ends = other.start() if other is not None and other.start() > begins else len(content)
    return Script(file.name, content[begins:ends], first_line=content.count(b"\n", 0, begins) + 1)


def _moment(number: int) -> int:
    """What the tool orders by: a number of 17 digits is a date, in milliseconds since 1970 (UTC)."""
    if len(str(number)) != _DATE_DIGITS:
        return number
    try:
        when = datetime.strptime(f"{number}000", "%Y%m%d%H%M%S%f").replace(tzinfo=UTC)
    except ValueError:
        return 0
    return round(when.timestamp() * 1000)


def _natural(text: str) -> list[tuple[int, str]]:
    """Digits as numbers, letters without their case: as near as may be to the tool's localeCompare."""
    parts = re.split(r"([0-9]+)", re.sub(r"[^\w]|_", "", text).casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
