"""sqitch: `sqitch.plan` gives the order, `deploy/`, `revert/` and `verify/` hold a script for each change.

A change that was reworked comes twice in the plan; the older one's scripts are called `name@tag.sql` (sqitchchanges).
sqitch's scripts bring their own BEGIN and COMMIT, those that verify a ROLLBACK. An outermost pair is taken off here, so
that they can run in a transaction of ours; its place is kept by blanks, so that lines and columns stay what they are.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.rollback.down_sql import transaction_control
from toolkit.rollback.migrations.folder import Script
from toolkit.rollback.migrations.layout import Entry, Layout, Listing, malformed, read_script
from toolkit.rollback.sql_lexer import Kind, SqlError, Statement, statements

PLAN = "sqitch.plan"
_CHANGE = re.compile(r"(?P<name>[^\s@#\[:%]+)(?:\s+\[[^\]]*\])?\s+\d{4}-\d\d-\d\dT[0-9:]+Z\s")
_TAG = re.compile(r"@(?P<name>[^\s\[]+)\s")
_TOP_DIR = re.compile(r"^\s*top_dir\s*=\s*(?P<folder>\S+)", re.MULTILINE)
_OPENING = re.compile(r"\b(begin|start\s+transaction)(\s+(work|transaction))?\s*;", re.IGNORECASE)
_CLOSING = re.compile(r"\b(commit|end|rollback)(\s+(work|transaction))?\s*(;|$)", re.IGNORECASE)
_OPENS = ("begin", "begin work", "begin transaction", "start transaction")
_CLOSES = ("commit", "commit work", "commit transaction", "end", "end work", "end transaction")
_ROLLS_BACK = ("rollback", "rollback work", "rollback transaction")
ENDS = {"deploy": _CLOSES, "revert": _CLOSES, "verify": _ROLLS_BACK}  # how the scripts of a folder end
_PSQL = "holds psql's own commands (line {}), which only psql runs"


class Sqitch(Layout):
    name = "sqitch"
    looks = PLAN

    def claims(self, path: Path) -> bool:
        return (path / PLAN).exists()

    def read(self, path: Path) -> Listing:
        if not (path / PLAN).exists():
            raise malformed(PLAN, "there is none")
        top = _top(path)
        entries = []
        for number, change in enumerate(_changes(path), start=1):
            up, down, verify = (_script(path, top / kind, f"{change.script}.sql") for kind in ENDS)
            if up is None:
                raise malformed(PLAN, f"change {number} ({change.name}) has no script in deploy/")
            entries.append(Entry(change.script, change.name, None, up, down, verify))
        said = [
            "An outermost BEGIN … COMMIT of a script is taken off, so that it runs in one transaction with the record"
        ]
        return Listing(entries, said=said)


@dataclass
class _Change:
    """A line of the plan. `script`: the name of its files, which carries a tag once it was reworked."""

    name: str
    script: str


def _changes(path: Path) -> list[_Change]:
    found: list[_Change] = []
    since: dict[str, tuple[_Change, str | None]] = {}  # by name: the latest one, and the first tag after it
    for number, line in enumerate(read_script(path / PLAN).content.decode().splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith(("#", "%")):
            continue
        if tag := _TAG.match(text + " "):
            since = {name: (change, first or tag["name"]) for name, (change, first) in since.items()}
            continue
        match = _CHANGE.match(text)
        if match is None:
            raise malformed(PLAN, f"line {number} is neither a change nor a tag")
        name = match["name"]
        if name in since:
            earlier, first = since[name]
            if first is None:
                raise malformed(PLAN, f"line {number}: {name} comes twice without a tag in between")
            earlier.script = f"{name}@{first}"
        found.append(_Change(name, name))
        since[name] = found[-1], None
    return found


def _top(path: Path) -> Path:
    """Where the scripts are; `top_dir` of sqitch.conf moves them."""
    settings = path / "sqitch.conf"
    match = _TOP_DIR.search(read_script(settings).content.decode()) if settings.exists() else None
    moved = path / match["folder"] if match else path
    return moved if (moved / "deploy").is_dir() else path


def _script(path: Path, folder: Path, name: str) -> Script | None:
    file = folder / name
    if not file.exists():
        return None
    script = read_script(file, file.relative_to(path).as_posix())
    bare = without_outer_transaction(script.content, ENDS[folder.name])
    return Script(script.file, bare, problem=_psql_problem(script))


def _psql_problem(script: Script) -> str | None:
    try:
        found = [token for statement in script.statements for token in statement.tokens]
    except SqlError:
        return None  # told when it is to run
    line = next((token.line for token in found if token.kind is Kind.SYMBOL and token.text == "\\"), None)
    return _PSQL.format(line) if line else None


def without_outer_transaction(content: bytes, closes: Sequence[str] = _CLOSES) -> bytes:
    """The same script without the one BEGIN that opens it and the one COMMIT (or what `closes` says) that closes it.

    As it is where it has none, or more transaction control than that.
    """
    text = content.decode()
    try:
        found = statements(text)
        control = transaction_control(found)
        if len(control) != 2 or control != [found[0], found[-1]] or not _is_pair(control[0], control[1], closes):
            return content
        for bare in _blanked(text, *control):
            if statements(bare) == found[1:-1]:
                return bare.encode()
    except SqlError:
        pass
    return content


def _is_pair(opening: Statement, closing: Statement, closes: Sequence[str]) -> bool:
    return _words(opening) in _OPENS and _words(closing) in closes


def _words(statement: Statement) -> str:
    return " ".join(token.text for token in statement.tokens)


def _blanked(text: str, opening: Statement, closing: Statement) -> Iterator[str]:
    """The text with blanks in the place of both, one for each place in their lines where they may stand.

    The lexer says in which lines they begin and not where, and a comment may say BEGIN too: whoever asks checks.
    """
    for first in _OPENING.finditer(text, *_span(text, opening.line)):
        for last in _CLOSING.finditer(text, *_span(text, closing.line)):
            if first.end() <= last.start():
                middle = text[first.end() : last.start()]
                blanks = " " * len(first[0]), " " * len(last[0])
                yield f"{text[: first.start()]}{blanks[0]}{middle}{blanks[1]}{text[last.end() :]}"


def _span(text: str, line: int) -> tuple[int, int]:
    """Where a line begins and ends, counted as the lexer counts them."""
    lines = text.split("\n")
    begins = sum(len(each) + 1 for each in lines[: line - 1])
    return begins, begins + len(lines[line - 1])
