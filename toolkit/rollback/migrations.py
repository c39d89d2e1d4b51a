"""The folder of migrations as the team's migration tool sees it: which versions there are, and which can go down.

Owns reading files. It knows nothing of the database (see `state_tables`) and runs nothing. The layout is
golang-migrate's, `NNN_name.up.sql` and `NNN_name.down.sql`, versions ordered as numbers whatever their width; a further
layout is a further reader that returns the same `MigrationFolder`.
"""

import hashlib
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from toolkit.errors import RollbackError, UsageError
from toolkit.rollback.down_sql import not_in_transaction, transaction_control
from toolkit.rollback.sql_lexer import SqlError, Statement, statements

_FILE = re.compile(r"(?P<version>[0-9]+)[_-](?P<name>.*)\.(?P<direction>up|down)\.sql")
LARGEST_VERSION = 2**63 - 1  # the state table's column is a bigint


@dataclass(frozen=True)
class Script:
    """One file of SQL. `sha256` is that of its bytes, which are what the server gets."""

    file: str
    content: bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def statements(self) -> list[Statement]:
        """Raises SqlError for what no server would take; the text is UTF-8, which the reader made sure of."""
        return statements(self.content.decode())


@dataclass(frozen=True)
class Migration:
    """One version. `up` or `down` is None where there is no such file."""

    version: int
    name: str
    up: Script | None
    down: Script | None

    @property
    def down_problem(self) -> str | None:
        """Why it cannot go down by its file; None when it can, as far as the text tells."""
        if self.down is None:
            return "it has no down"
        if self.down.content.startswith(BOM_UTF8) or b"\0" in self.down.content:
            return "its down holds a byte order mark or a zero byte, which no server takes"
        try:
            found = self.down.statements
        except SqlError as error:
            return f"its down is malformed: {error}"
        if not found:
            return "its down holds no statement"
        if control := transaction_control(found):
            return f"its down ends the transaction that it runs in ({_quoted(control[0])})"
        if alone := not_in_transaction(found):
            return f"its down holds a statement that cannot run in a transaction ({_quoted(alone[0])})"
        return None


@dataclass(frozen=True)
class MigrationFolder:
    """All migrations, by version, the oldest first. `ignored` names SQL files that are no migration by their name."""

    path: Path
    migrations: Mapping[int, Migration]
    ignored: tuple[str, ...] = ()

    @property
    def versions(self) -> list[int]:
        return list(self.migrations)

    def before(self, version: int) -> int | None:
        """The version below; None below the first."""
        return max((each for each in self.migrations if each < version), default=None)

    def between(self, low: int | None, high: int) -> list[Migration]:
        """Those above `low` (None: from the first) up to and with `high`, the newest first."""
        wanted = [v for v in self.migrations if (low is None or v > low) and v <= high]
        return [self.migrations[version] for version in reversed(wanted)]


def read_folder(path: Path) -> MigrationFolder:
    """Read a folder of migrations.

    Raises UsageError when there is none or it holds none; RollbackError for two files of one version and direction, and
    for a file that is not UTF-8.
    """
    if not path.is_dir():
        raise UsageError(f"There is no folder of migrations at {path}", next="name it in the playbook: `migrations`")
    scripts: dict[tuple[int, str], tuple[str, Script]] = {}
    ignored = []
    for file in sorted(path.glob("*.sql")):
        match = _FILE.fullmatch(file.name)
        if match is None or int(match["version"]) > LARGEST_VERSION:
            ignored.append(file.name)
            continue
        key = int(match["version"]), match["direction"]
        if key in scripts:
            raise RollbackError(
                f"Version {key[0]} has two files to go {key[1]}: {scripts[key][1].file} and {file.name}",
                state="nothing was done",
                next="give one of them another version, as the migration tool wants it",
            )
        scripts[key] = match["name"], read_script(file)
    if not scripts:
        raise UsageError(f"{path} holds no migration", next="files are named as in 001_events.up.sql")
    return MigrationFolder(path, _paired(scripts), tuple(ignored))


def read_script(file: Path) -> Script:
    """One file. RollbackError when it cannot be read or is not UTF-8."""
    try:
        content = file.read_bytes()
        content.decode()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise RollbackError(f"{file.name} cannot be read: {said}", state="nothing was done") from None
    return Script(file.name, content)


def _paired(scripts: Mapping[tuple[int, str], tuple[str, Script]]) -> dict[int, Migration]:
    found = {}
    for version in sorted({version for version, _ in scripts}):
        up, down = scripts.get((version, "up")), scripts.get((version, "down"))
        name = (up or down or ("",))[0]
        found[version] = Migration(version, name, up and up[1], down and down[1])
    return found


def _quoted(statement: Statement) -> str:
    words = " ".join(token.text.upper() for token in statement.tokens[:3] if token.is_name)
    return f"{words}, line {statement.line}"
