"""The service's statement log: its latest committed transactions, statement by statement, with their parameters.

It is what a team would add to its own service so that it can be asked whether this code still fits a schema. Parameters
are personal data: the files are readable by their owner only, small, sampled, and outside all evidence. A log that
cannot be written is done without; it never costs a request.
"""

import json
import os
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from psycopg import AsyncCursor, postgres
from psycopg.abc import Params, Query
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow

from toolkit.clock import iso, utc_now

OF_A_KIND_EVERY_S = 0.5  # transactions of the same statements, at most one in this time
MOST_BYTES = 512 * 1024  # of each of two files; then the older one goes
_PLACEHOLDER = re.compile(r"%\((\w+)\)s|%%")

Statement = tuple[str, tuple[str | None, ...], tuple[str, ...]]


class StatementLog:
    """One deployment's log: `<deployment>.jsonl` in a folder, and the older half beside it."""

    def __init__(self, folder: Path, deployment: str, role: str) -> None:
        self._path, self._deployment, self._role = folder / f"{deployment}.jsonl", deployment, role
        self._older = folder / f"{deployment}-older.jsonl"
        self._last: dict[tuple[str, ...], float] = {}

    def write(self, statements: Sequence[Statement]) -> None:
        """Write one committed transaction, unless one of its kind was written a moment ago."""
        kind, now = tuple(text for text, _, _ in statements), time.monotonic()
        if not statements or now - self._last.get(kind, -OF_A_KIND_EVERY_S) < OF_A_KIND_EVERY_S:
            return
        self._last[kind] = now
        shared = {"at": iso(utc_now()), "deployment": self._deployment, "role": self._role}
        shared["transaction"] = uuid.uuid4().hex
        lines = [
            json.dumps({**shared, "sql": text, "params": params, "types": types}) for text, params, types in statements
        ]
        with suppress(OSError):
            self._append("".join(f"{line}\n" for line in lines).encode())

    def _append(self, lines: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, lines)
            full = os.fstat(descriptor).st_size > MOST_BYTES
        finally:
            os.close(descriptor)
        if full:
            self._path.replace(self._older)


class LoggedCursor(AsyncCursor[DictRow]):
    """Remembers on its connection what was run, for `taken`."""

    async def execute(self, query: Query, params: Params | None = None, **more: Any) -> "LoggedCursor":
        await super().execute(query, params, **more)  # type: ignore[arg-type]
        remembered: list[Statement] = self.connection.__dict__.setdefault("statements", [])
        if self.connection.info.transaction_status is TransactionStatus.INTRANS:
            with suppress(TypeError, ValueError):
                remembered.append(as_sent(query, params))
        return self


def taken(connection: object) -> list[Statement]:
    """What was run on this connection since the last time, which is forgotten there."""
    found: list[Statement] = connection.__dict__.get("statements", [])
    connection.__dict__["statements"] = []
    return found


def as_sent(query: Query, params: Params | None) -> Statement:
    """The text with $1, $2, … in it, the values as PostgreSQL's text, and the names of their types."""
    text = query.decode() if isinstance(query, bytes) else str(query)
    if params is None:
        return text, (), ()
    assert isinstance(params, Mapping), "this service names its parameters"
    names: list[str] = []

    def placed(match: re.Match[str]) -> str:
        if match[1] is None:
            return "%"
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    text = _PLACEHOLDER.sub(placed, text)
    told = [_as_text(params[name]) for name in names]
    return text, tuple(value for value, _ in told), tuple(type for _, type in told)


def _as_text(value: object) -> tuple[str | None, str]:
    """A value as PostgreSQL reads it, and its type's name."""
    if value is None:
        return None, "unknown"
    transformer = Transformer()
    dumper = transformer.get_dumper(value, PyFormat.TEXT)
    dumped = dumper.dump(value)
    known = postgres.types.get(dumper.oid)
    name = "unknown" if known is None else f"{known.regtype}[]" if known.array_oid == dumper.oid else known.regtype
    return (None if dumped is None else bytes(dumped).decode()), name
