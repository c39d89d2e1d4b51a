"""Follows the service's own log, a file of JSON lines, for a service that no platform keeps runtime logs of.

It reads on from where it was, over a file that was rotated or emptied, and never more than a bound at once: after a
long pause the newest lines count, not all. What was written before it came is not read.
"""

import os
from pathlib import Path

from toolkit.adapters.request_window import RequestWindow
from toolkit.adapters.traffic import Reader, Traffic
from toolkit.errors import PlatformError

MOST_BYTES = 8 * 1024 * 1024


class ServiceLog:
    """`follow` again and again from one thread; read from any. Nothing is opened before that."""

    def __init__(self, file: Path, reader: Reader, *, keep_s: float) -> None:
        self._file, self._reader = file, reader
        self._requests = RequestWindow(keep_s)
        self._at: tuple[int, int] | None = None  # the file's inode, and how far it was read
        self._torn = b""
        self.open = False

    def follow(self) -> int:
        """Read what was written since the last time; how many requests that were. PlatformError when it cannot."""
        try:
            lines = self._new_lines()
        except OSError as error:
            self.open = False
            raise PlatformError(f"The service's log {self._file} cannot be read: {error.strerror}") from None
        self.open = True
        self._requests.begin()
        found = [request for line in lines if (request := self._reader.read_text(line.decode(errors="replace")))]
        for request in found:
            self._requests.keep(request)
        return len(found)

    def window(self, seconds: float) -> Traffic:
        return self._requests.last(seconds)

    def _new_lines(self) -> list[bytes]:
        with self._file.open("rb") as file:
            status = os.fstat(file.fileno())
            begin = self._begin(status.st_ino, status.st_size)
            file.seek(begin)
            content = self._torn + file.read(MOST_BYTES)
            self._at = (status.st_ino, file.tell())
        *lines, self._torn = content.split(b"\n")
        return lines

    def _begin(self, inode: int, size: int) -> int:
        if self._at is None:
            return size
        before, at = self._at
        begin = at if before == inode and at <= size else 0
        if begin == 0 or size - begin > MOST_BYTES:
            self._torn = b""
        return max(begin, size - MOST_BYTES)
