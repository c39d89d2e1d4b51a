"""A folder of migrations as data: versions in the tool's order, and what each has to go up and down.

Pure data and what its text alone tells. It reads no file (see the layouts) and knows nothing of a database.
"""

import hashlib
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from toolkit.rollback.down_sql import not_in_transaction, transaction_control
from toolkit.rollback.sql_lexer import SqlError, Statement, statements

LARGEST_VERSION = 2**63 - 1  # the state table's column is a bigint


@dataclass(frozen=True)
class Script:
    """SQL to run: a file, or the section of one. `sha256` is that of its bytes, which are what the server gets.

    `file` is relative to the folder. `transactional` False: its author wants no transaction around it. `problem` is why
    the text must not be sent as it stands (the tool would change it first). It begins in line `first_line` of its file.
    """

    file: str
    content: bytes
    transactional: bool = True
    problem: str | None = None
    first_line: int = 1

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def statements(self) -> list[Statement]:
        """Raises SqlError for what no server would take; the text is UTF-8, which the reader made sure of."""
        return statements(self.content.decode())

    @cached_property
    def alone(self) -> list[Statement]:
        """Its statements that cannot run in a transaction and want to be run singly. Raises SqlError."""
        return not_in_transaction(self.statements)


@dataclass(frozen=True)
class Migration:
    """One version. `up` or `down` is None where there is no such script.

    `verify` is the tool's own script that fails where the schema is not what the migration makes. `version` orders: the
    number that the tool gives, or where it gives none (or orders otherwise than by number) its place in the folder,
    from 1. `label` is what the tool writes in its state table.
    """

    version: int
    name: str
    up: Script | None
    down: Script | None
    label: str = ""
    verify: Script | None = None

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", str(self.version))

    @property
    def down_problem(self) -> str | None:
        """Why it cannot go down by its script; None when it can, as far as the text tells.

        Statements that cannot run in a transaction are no problem: see `Script.alone`.
        """
        if self.down is None:
            return "it has no down"
        if self.down.problem:
            return f"its down {self.down.problem}"
        if self.down.content.startswith(BOM_UTF8) or b"\0" in self.down.content:
            return "its down holds a byte order mark or a zero byte, which no server takes"
        try:
            found = self.down.statements
        except SqlError as error:
            shifted = SqlError(error.what, error.line + self.down.first_line - 1)
            return f"its down is malformed: {shifted}"
        if not found:
            return "its down holds no statement"
        if control := transaction_control(found):
            return f"its down ends the transaction that it runs in ({_quoted(control[0], self.down)})"
        return None


@dataclass(frozen=True)
class MigrationFolder:
    """All migrations, by version, the oldest first. `ignored` names SQL files that are no migration by their name.

    `layout` is the tool's way of laying them out. `repeatable` are files that the tool runs again whenever they change,
    which have no version. `said` is what a reader should know about how the folder was read.
    """

    path: Path
    migrations: Mapping[int, Migration]
    ignored: tuple[str, ...] = ()
    layout: str = "golang-migrate"
    repeatable: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    @property
    def versions(self) -> list[int]:
        return list(self.migrations)

    def named(self, text: str) -> Migration | None:
        """The migration of that label, number, or name, in this order of trust; None when there is none or several."""
        ways = (
            lambda each: each.label == text,
            lambda each: text.replace("-", "").isdecimal() and each.version == int(text.replace("-", "")),
            lambda each: text in (each.name, f"{each.label}_{each.name}"),
        )
        for way in ways:
            found = [each for each in self.migrations.values() if way(each)]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    def written(self, version: int | None) -> str | None:
        """What the tool writes of a version; None below the first. A reworked change's tag is only its file's."""
        migration = self.migrations.get(version) if version is not None else None
        if migration is None:
            return None
        return migration.label.partition("@")[0] if self.layout == "sqitch" else migration.label

    def before(self, version: int) -> int | None:
        """The version below; None below the first."""
        return max((each for each in self.migrations if each < version), default=None)

    def between(self, low: int | None, high: int) -> list[Migration]:
        """Those above `low` (None: from the first) up to and with `high`, the newest first."""
        wanted = [v for v in self.migrations if (low is None or v > low) and v <= high]
        return [self.migrations[version] for version in reversed(wanted)]


def _quoted(statement: Statement, script: Script) -> str:
    words = " ".join(token.text.upper() for token in statement.tokens[:3] if token.is_name)
    return f"{words}, line {statement.line + script.first_line - 1}"
