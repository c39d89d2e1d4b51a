"""The statement log of an application: its latest statements with their parameters, as a file of JSON lines.

    {"at", "deployment", "role", "transaction", "sql", "params", "types"}

`sql` has $1, $2, … for its parameters; `params` are their values as PostgreSQL's text (null for NULL), `types` their
types' names ('unknown' where the server was to infer it). Statements with the same `transaction` ran in one, in the
order of the lines. Parameters are personal data: whoever writes the log keeps it small and private, and here they are
read to be sent to a copy, and never shown.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from toolkit.errors import UsageError

OTHERS_MAY = 0o077
MOST_BYTES = 32 * 1024 * 1024
MOST_OF_A_KIND = 20  # transactions of the same statements
MOST_TRANSACTIONS = 200


@dataclass(frozen=True)
class LoggedStatement:
    """One statement as it was sent. It prints without its values and without its text, which may hold constants."""

    sql: str = field(repr=False)
    params: tuple[str | None, ...] = field(repr=False)
    types: tuple[str, ...]


@dataclass(frozen=True)
class LoggedTransaction:
    """Statements that ran in one transaction, as this role."""

    role: str
    statements: tuple[LoggedStatement, ...]


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    deployment: str
    role: str
    transaction: str
    sql: str
    params: tuple[str | None, ...] = ()
    types: tuple[str, ...] = ()


def read_log(path: Path, deployment: str) -> list[LoggedTransaction]:
    """A deployment's latest transactions, the oldest first: MOST_OF_A_KIND of each kind, MOST_TRANSACTIONS at most.

    Torn lines are left out.
    `path` is a file, or a folder of files that end in `.jsonl`; [] where there is none. Raises UsageError for a file
    that others may read.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path] if path.exists() else []
    grouped: dict[str, list[_Line]] = {}
    for file in files:
        for line in _lines(file):
            if line.deployment == deployment and len(line.params) == len(line.types):
                grouped.setdefault(line.transaction, []).append(line)
    kinds: Counter[tuple[str, ...]] = Counter()
    latest: list[list[_Line]] = []
    for each in reversed(grouped.values()):
        kind = tuple(line.sql for line in each)
        kinds[kind] += 1
        if kinds[kind] <= MOST_OF_A_KIND and len(latest) < MOST_TRANSACTIONS:
            latest.append(each)
    return [LoggedTransaction(each[0].role, tuple(map(_statement, each))) for each in reversed(latest)]


def _lines(file: Path) -> Iterator[_Line]:
    with file.open("rb") as log:
        if file.stat().st_mode & OTHERS_MAY:
            raise UsageError(
                f"The statement log {file.name} may be read by others, and it holds personal data",
                state="it was not read",
                next=f"chmod 600 {file}",
            )
        log.seek(max(0, file.stat().st_size - MOST_BYTES))
        for raw in log:
            try:
                yield _Line.model_validate(json.loads(raw))
            except (ValueError, ValidationError):
                continue


def _statement(line: _Line) -> LoggedStatement:
    return LoggedStatement(line.sql, line.params, line.types)
