"""A plain dump as it is fed to psql: the same statements, without what a psql or a server of another version refuses.

Anybody's dump is data, not a program of ours: psql obeys `\\!` (run a program) and `\\connect` wherever they stand. So
`\\restrict` with a token of our own goes before it, in place of the one that newer dumps bring, and psql refuses every
meta-command after that.
"""

import gzip
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from toolkit.errors import BackupError

TRANSACTION_TIMEOUT_SINCE = 17
_HEADER = re.compile(rb"\s*$|--|SET |SELECT pg_catalog\.set_config|\\")
_RESTRICT = re.compile(rb"\\restrict ([A-Za-z0-9]+)\s*$")
_TIMEOUT = re.compile(rb"SET transaction_timeout = \w+;\s*$")
_RESTRICT_SINCE = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}  # minor versions by major; 18 and later have it


def knows_restrict(psql_version: str) -> bool:
    """Whether a psql of that version, such as '16.4', has `\\restrict` (CVE-2025-8714 brought it, August 2025)."""
    major, minor = (int(part) for part in (*re.findall(r"\d+", psql_version)[:2], "0")[:2])
    return major >= 18 or minor >= _RESTRICT_SINCE.get(major, 10_000)


class PlainDump:
    """One file of SQL, packed by gzip or not. `left_out` tells what was not fed, once it has been fed."""

    def __init__(self, file: Path, server_major: int, *, restricts: bool) -> None:
        self.file, self._server_major, self._restricts = file, server_major, restricts
        self._packed: IO[bytes] | None = None
        self.left_out: list[str] = []

    @property
    def far(self) -> tuple[float, float]:
        """How many bytes of the file have been read, of how many."""
        packed, whole = self._packed, float(self.file.stat().st_size)
        if packed is None:
            return 0.0, whole
        return whole if packed.closed else float(packed.tell()), whole

    def feed(self) -> Iterator[bytes]:
        """What psql gets, in pieces. BackupError when the file cannot be read."""
        token = secrets.token_hex(16).encode()
        if self._restricts:
            yield b"\\restrict " + token + b"\n"
        try:
            with self.file.open("rb") as self._packed:
                yield from self._lines(self._packed)
        except (OSError, EOFError, gzip.BadGzipFile) as error:
            said = getattr(error, "strerror", None) or "it is not whole"
            raise BackupError(f"{self.file.name} cannot be read: {said}") from None
        if self._restricts:
            yield b"\n\\unrestrict " + token + b"\n"

    def _lines(self, packed: IO[bytes]) -> Iterator[bytes]:
        lines: IO[bytes] = gzip.GzipFile(fileobj=packed) if _is_gzip(packed) else packed  # type: ignore[assignment]
        heading, theirs = True, b""
        for line in lines:
            heading = heading and _HEADER.match(line) is not None
            if heading and (own := _RESTRICT.match(line)):
                theirs = own[1]
                yield b"\n"
            elif heading and _TIMEOUT.match(line) and self._server_major < TRANSACTION_TIMEOUT_SINCE:
                self.left_out.append(f"SET transaction_timeout, which PostgreSQL {self._server_major} does not know")
                yield b"\n"
            elif theirs and line.strip() == b"\\unrestrict " + theirs:
                yield b"\n"
            else:
                yield line


def _is_gzip(file: IO[bytes]) -> bool:
    magic = file.read(2)
    file.seek(0)
    return magic == b"\x1f\x8b"
