"""Flyway: `V1.2__name.sql`, undone by `U1.2__name.sql`; `R__name.sql` is repeatable and has no version.

Versions order part by part as numbers, 1.10 after 1.9, and 1.0 is 1 (MigrationVersion.java). `NAME.sql.conf` may ask
for no transaction. `${…}` are Flyway's placeholders: such an undo is refused, since only Flyway fills them.
"""

import re
from pathlib import Path

from toolkit.rollback.migrations.folder import Script
from toolkit.rollback.migrations.layout import Entry, Layout, Listing, malformed, read_script, refuse_doubles

_FILE = re.compile(r"(?P<kind>[VU])(?P<version>[0-9]+(?:[._][0-9]+)*)__(?P<name>.*)\.sql")
_REPEATABLE = re.compile(r"R__.*\.sql")
_PLACEHOLDER = re.compile(rb"\$\{[^}\r\n]+\}")
_ALONE = re.compile(rb"^\s*executeInTransaction\s*=\s*false\s*$", re.MULTILINE | re.IGNORECASE)
_HOLDS = "holds a placeholder ({}), which only Flyway fills"

Parts = tuple[int, ...]


class Flyway(Layout):
    name = "flyway"
    looks = "V1__events.sql"

    def claims(self, path: Path) -> bool:
        return any(_FILE.fullmatch(file.name) for file in path.rglob("*.sql"))

    def read(self, path: Path) -> Listing:
        found: dict[str, dict[Parts, tuple[str, str, Script]]] = {"V": {}, "U": {}}
        names: list[tuple[str, str]] = []
        ignored: list[str] = []
        repeatable: list[str] = []
        for file in sorted(path.rglob("*.sql")):
            name = file.relative_to(path).as_posix()
            if match := _FILE.fullmatch(file.name):
                label, parts = _label(match["version"]), _parts(match["version"])
                names.append((f"{match['kind']}{'.'.join(map(str, parts))}", name))
                found[match["kind"]][parts] = label, match["name"], _script(file, name)
            else:
                (repeatable if _REPEATABLE.fullmatch(file.name) else ignored).append(name)
        refuse_doubles(names)
        if orphans := [script.file for parts, (_, _, script) in found["U"].items() if parts not in found["V"]]:
            raise malformed(orphans[0], "it undoes a version that has no file")
        return Listing(_entries(found), ignored, repeatable)


def _entries(found: dict[str, dict[Parts, tuple[str, str, Script]]]) -> list[Entry]:
    entries = []
    for parts in sorted(found["V"]):
        label, name, up = found["V"][parts]
        down = found["U"].get(parts)
        number = parts[0] if len(parts) == 1 else None
        entries.append(Entry(label, name.replace("_", " "), number, up, down and down[2]))
    return entries


def _label(version: str) -> str:
    """As the state table has it."""
    return version.replace("_", ".")


def _parts(version: str) -> Parts:
    parts = [int(part) for part in re.split("[._]", version)]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _script(file: Path, name: str) -> Script:
    script = read_script(file, name)
    settings = file.with_name(f"{file.name}.conf")
    alone = settings.exists() and _ALONE.search(read_script(settings).content)
    placeholder = _PLACEHOLDER.search(script.content)
    problem = _HOLDS.format(placeholder[0].decode()) if placeholder else None
    return Script(name, script.content, transactional=not alone, problem=problem)
