"""goose: one file with `-- +goose Up` and `-- +goose Down`; `NO TRANSACTION` speaks for the whole file.

Versions are numbers (internal/sqlparser/parser.go). What stands between `StatementBegin` and `StatementEnd` is one
statement for goose; the server cuts it the same way, so those markers stay as comments. `ENVSUB` puts the environment
into the SQL, which nobody here can repeat: such a section is refused.
"""

import re
from dataclasses import dataclass, field
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

_FILE = re.compile(r"(?P<version>[0-9]+)_(?P<name>.*)\.sql")
_MARK = re.compile(rb"^--\s*\+goose\s+(?P<word>[^\r\n]*?)\s*$", re.MULTILINE | re.IGNORECASE)
_SUBSTITUTED = "puts environment variables into its SQL (`-- +goose ENVSUB ON`), which only goose can"


class Goose(Layout):
    name = "goose"
    looks = "00001_events.sql with `-- +goose Up`"

    def claims(self, path: Path) -> bool:
        return any(_FILE.fullmatch(file.name) and _MARK.search(file.read_bytes()) for file in sql_files(path))

    def read(self, path: Path) -> Listing:
        entries, ignored = [], []
        for file in sql_files(path):
            if (match := _FILE.fullmatch(file.name)) and int(match["version"]) > 0:
                entries.append(_entry(file, int(match["version"]), match["name"]))
            else:
                ignored.append(file.name)
        entries.sort(key=lambda entry: entry.number or 0)
        refuse_doubles((entry.label, entry.up.file if entry.up else "") for entry in entries)
        go = [file.name for file in sorted(path.glob("*.go")) if re.match(r"[0-9]+_", file.name)]
        said = [f"{', '.join(go)}: migrations written in Go are not read"] if go else []
        return Listing(entries, ignored, said=said)


@dataclass
class _Marks:
    """What the markers of a file say. Offsets into it; `down` None: no such section."""

    up: int | None = None
    down: int | None = None
    transactional: bool = True
    substituted: set[str] = field(default_factory=set)
    open_statement: bool = False


def _entry(file: Path, version: int, name: str) -> Entry:
    content = read_script(file).content
    marks = _Marks()
    for mark in _MARK.finditer(content):
        _follow(marks, mark, file.name)
    if marks.up is None:
        raise malformed(file.name, "it has no `-- +goose Up`")
    if marks.open_statement:
        raise malformed(file.name, "a `-- +goose StatementBegin` has no StatementEnd")
    ends = len(content) if marks.down is None else marks.down
    up = _script(file, content, (marks.up, ends), "up", marks)
    down = None if marks.down is None else _script(file, content, (marks.down, len(content)), "down", marks)
    return Entry(str(version), name, version, up, down)


def _follow(marks: _Marks, mark: "re.Match[bytes]", file: str) -> None:
    word = mark["word"].decode(errors="replace").casefold()
    if word == "up":
        if marks.up is not None or marks.down is not None:
            raise malformed(file, "`-- +goose Up` comes twice, or after Down")
        marks.up = mark.start()
    elif word == "down":
        if marks.up is None or marks.down is not None or marks.open_statement:
            raise malformed(file, "`-- +goose Down` comes twice, before Up, or within a statement")
        marks.down = mark.start()
    elif word in ("statementbegin", "statementend"):
        if marks.up is None or marks.open_statement is (word == "statementbegin"):
            raise malformed(file, "its StatementBegin and StatementEnd do not match")
        marks.open_statement = word == "statementbegin"
    elif word == "no transaction":
        marks.transactional = False
    elif word.startswith("envsub") and word.endswith(" on"):
        marks.substituted |= {"down"} if marks.down is not None else {"up", "down"}


def _script(file: Path, content: bytes, span: tuple[int, int], direction: str, marks: _Marks) -> Script:
    return Script(
        file.name,
        content[span[0] : span[1]],
        transactional=marks.transactional,
        problem=_SUBSTITUTED if direction in marks.substituted else None,
        first_line=content.count(b"\n", 0, span[0]) + 1,
    )
