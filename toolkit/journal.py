"""The journal: what was intended, done and seen, in order, so that nobody has to remember it. Evidence, not a log.

One JSON object a line: `seq, at (UTC, µs), monotonic_s, incident, actor, kind, data, prev, hash`. Each line's hash
covers the line and the hash before it: a changed or missing line is found. A line is on disk before `append` returns.
Any process may append, one at a time (a file lock). A torn tail, left by a crash, is set aside and reported by the next
append, never silently dropped. A reserve file keeps room for the last entries when the disk is full.

A lost tail leaves a chain that is whole. To find it the latest sequence number and hash (`Head`) are kept elsewhere
too: on the target, and in a drill's score.
"""

import contextlib
import errno
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from toolkit.clock import iso, parse_utc, utc_now
from toolkit.errors import JournalError
from toolkit.redaction import redact

GENESIS = "0" * 64
LOCK_WITHIN_S = 10.0
RESERVE_BYTES = 64 * 1024
FIELDS = ("seq", "at", "monotonic_s", "incident", "actor", "kind", "data", "prev", "hash")


@dataclass(frozen=True)
class Entry:
    """One line. `data` is JSON; `at` is UTC; `monotonic_s` compares only within one machine's uptime."""

    seq: int
    at: datetime
    monotonic_s: float
    incident: str
    actor: str
    kind: str
    data: Mapping[str, Any]
    prev: str
    hash: str


@dataclass(frozen=True)
class Head:
    """How far a journal had come: enough to find that its tail was lost or replaced."""

    seq: int
    hash: str


EMPTY = Head(0, GENESIS)


class Journal:
    """An append-only file. Opening it reads nothing and writes nothing."""

    def __init__(self, path: Path, incident: str) -> None:
        self.path, self.incident = path, incident
        self._lock = FileLock(path.with_suffix(".lock"), timeout=LOCK_WITHIN_S, mode=0o600)

    def append(self, kind: str, data: Mapping[str, Any], *, actor: str) -> Entry:
        """Write one entry and flush it to the disk.

        Strings in `data` are redacted. Raises JournalError when another appender holds on for LOCK_WITHIN_S seconds, or
        when the disk is full and the reserve is used up; the file is then as it was.
        """
        try:
            with self._lock:
                self._reserve()
                torn = self._set_torn_tail_aside()
                head = self._head()
                if torn:
                    found = {"bytes": torn.stat().st_size, "kept_in": torn.name}
                    head = _head_of(self._write(head, "journal.tail_torn", found, "journal"))
                return self._write(head, kind, data, actor)
        except Timeout:
            raise JournalError(
                f"{self.path.name} is held by another process for {LOCK_WITHIN_S:g} s",
                state="nothing was written",
                next="end the process that hangs, then repeat the command",
            ) from None

    def entries(self) -> list[Entry]:
        """All whole lines, in order; [] where there is no file yet. A torn tail is left out.

        Raises JournalError naming the first line that is no entry.
        """
        return self.parsed(self.path.read_bytes()) if self.path.exists() else []

    def head(self) -> Head:
        """The latest entry's number and hash, without reading the whole file."""
        return self._head()

    def parsed(self, content: bytes, before: Sequence[Entry] = ()) -> list[Entry]:
        """The entries of whole lines that follow those `before`. Raises JournalError naming the first that is none."""
        found: list[Entry] = []
        for number, line in enumerate(content.split(b"\n")[:-1], start=len(before) + 1):
            try:
                found.append(_parse(line))
            except (ValueError, KeyError, TypeError) as error:
                raise JournalError(
                    f"Line {number} of {self.path} is no journal entry: {type(error).__name__}",
                    next=f"toolkit journal verify {self.path.parent}",
                ) from None
        return found

    def _head(self) -> Head:
        if not self.path.exists() or not (size := self.path.stat().st_size):
            return EMPTY
        with self.path.open("rb") as file:
            span = 4096
            while True:
                file.seek(max(0, size - span))
                lines = file.read().rstrip(b"\n").split(b"\n")
                if len(lines) > 1 or span >= size:
                    return _head_of(_parse(lines[-1]))
                span *= 4

    def _write(self, head: Head, kind: str, data: Mapping[str, Any], actor: str) -> Entry:
        body = {
            "seq": head.seq + 1,
            "at": iso(utc_now()),
            "monotonic_s": round(time.monotonic(), 6),
            "incident": self.incident,
            "actor": actor,
            "kind": kind,
            "data": _redacted(json.loads(json.dumps(data, default=str))),
            "prev": head.hash,
        }
        line = json.dumps(body | {"hash": _digest(body)}, ensure_ascii=False).encode() + b"\n"
        try:
            self._put(line)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.release_reserve():
                raise JournalError(
                    f"{self.path} cannot be written: {error.strerror}",
                    state=f"the journal ends at entry {head.seq}; what was to be journaled was not begun",
                    next="make room on the disk, then repeat the command",
                ) from error
            self._put(line)
        return _parse(line)

    def _put(self, line: bytes) -> None:
        """Append, flush, or leave the file as it was."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)

    def _set_torn_tail_aside(self) -> Path | None:
        """Move bytes after the last newline into a file of their own; None when the tail is whole."""
        if not self.path.exists() or self._ends_whole():
            return None
        content = self.path.read_bytes()
        whole, torn = content[: content.rfind(b"\n") + 1], content[content.rfind(b"\n") + 1 :]
        aside = self.path.with_suffix(f".torn-{len(whole)}")
        aside.write_bytes(torn)
        with self.path.open("r+b") as file:
            file.truncate(len(whole))
            os.fsync(file.fileno())
        return aside

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def release_reserve(self) -> bool:
        """Give the room back that was kept for entries: the last one is written. False where it is given back."""
        if not self._reserve_path.exists():
            return False
        self._reserve_path.unlink()
        return True

    @property
    def _reserve_path(self) -> Path:
        return self.path.with_suffix(".reserve")

    def _reserve(self) -> None:
        if not self.path.exists() and not self._reserve_path.exists():
            with contextlib.suppress(OSError):
                self._reserve_path.write_bytes(os.urandom(RESERVE_BYTES))


class Tail:
    """All entries of a journal, for whoever looks often: each time only what is new is read."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._read_bytes, self._entries = 0, list[Entry]()

    def entries(self) -> list[Entry]:
        """As Journal.entries."""
        path = self._journal.path
        size = path.stat().st_size if path.exists() else 0
        if size < self._read_bytes:
            self._read_bytes, self._entries = 0, []
        if size > self._read_bytes:
            with path.open("rb") as file:
                file.seek(self._read_bytes)
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._entries += self._journal.parsed(whole, self._entries)
            self._read_bytes += len(whole)
        return list(self._entries)


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found: no `problems` when the chain is whole.

    `checked_up_to` is the entry up to which it was held against a head kept elsewhere; None without one.
    """

    entries: int
    head: Head
    problems: tuple[str, ...]
    checked_up_to: int | None


def inspect(path: Path, head: Head | None = None) -> Inspection:
    """Look for changed, missing, reordered and torn lines, and, against a `head` kept elsewhere, for a lost tail."""
    if not path.exists():
        return Inspection(0, EMPTY, ("the file is missing",), None)
    content = path.read_bytes()
    *lines, tail = content.split(b"\n")
    problems = [f"the last line is torn ({len(tail)} bytes)"] if tail else []
    at, hashes = EMPTY, {0: GENESIS}
    for number, line in enumerate(lines, start=1):
        problem, at = _inspect_line(line, at)
        hashes[at.seq] = at.hash
        if problem:
            problems.append(f"line {number}: {problem}")
    if head is not None and head.seq > at.seq:
        problems.append(f"the tail is lost: it ends at entry {at.seq}, but entry {head.seq} was written")
    elif head is not None and hashes.get(head.seq) != head.hash:
        problems.append(f"entry {head.seq} is not the one that was written")
    return Inspection(len(lines), at, tuple(problems), head.seq if head else None)


def _inspect_line(line: bytes, before: Head) -> tuple[str | None, Head]:
    try:
        body = json.loads(line)
        said = body.pop("hash")
        here = Head(int(body["seq"]), said)
        digest = _digest(body)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return "is no journal entry", Head(before.seq + 1, "?")
    if digest != said:
        return f"entry {here.seq} was changed", here
    if here.seq != before.seq + 1:
        return f"entry {here.seq} follows entry {before.seq}: lines are missing or out of order", here
    if body["prev"] != before.hash and before.hash != "?":
        return f"entry {here.seq} does not continue entry {before.seq}", here
    return None, here


def _digest(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _parse(line: bytes) -> Entry:
    fields = json.loads(line)
    return Entry(**{name: fields[name] for name in FIELDS} | {"at": parse_utc(fields["at"])})


def _head_of(entry: Entry) -> Head:
    return Head(entry.seq, entry.hash)


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return redact(value)
        case dict():
            return {key: _redacted(inner) for key, inner in value.items()}
        case list():
            return [_redacted(inner) for inner in value]
    return value
