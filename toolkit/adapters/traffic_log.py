"""Follows the runtime logs of whichever deployment production points at, and keeps the requests of the last while.

The platform streams the logs of one deployment. So each has a thread of its own; when production points elsewhere a new
one is opened, and the old one goes on for as long as its stream lasts, because its last requests are requests too. A
stream that breaks is opened again. What was printed before it was opened is not known here.
"""

import threading

from toolkit.adapters.request_window import RequestWindow
from toolkit.adapters.traffic import Reader, Traffic
from toolkit.adapters.vercel import VercelClient
from toolkit.errors import ToolkitError

STREAM_S = 60.0


class TrafficLog:
    """The latest requests. `follow` again and again; read from any thread. Nothing is opened before that."""

    def __init__(self, platform: VercelClient, host: str, reader: Reader, *, keep_s: float) -> None:
        self._platform, self._host, self._reader = platform, host, reader
        self._requests = RequestWindow(keep_s)
        self._streams: dict[str, threading.Thread] = {}
        self._closed = threading.Event()
        self.deployment: str | None = None
        self.trouble: str | None = None

    def follow(self) -> str:
        """Ask where production points and see to it that its log is open. Returns the deployment's id.

        Raises PlatformError when the platform does not say.
        """
        found = self._platform.production(self._host).id
        self.deployment = found
        stream = self._streams.get(found)
        if stream is None or not stream.is_alive():
            self._streams = {name: each for name, each in self._streams.items() if each.is_alive()}
            self._streams[found] = threading.Thread(target=self._read, args=(found,), daemon=True)
            self._streams[found].start()
        return found

    @property
    def open(self) -> bool:
        """Whether the log of the deployment that production was last seen at is being read."""
        stream = self._streams.get(self.deployment or "")
        return stream is not None and stream.is_alive()

    def window(self, seconds: float) -> Traffic:
        """The requests of the last `seconds`, or since the first log was opened where that is less."""
        return self._requests.last(seconds)

    def close(self) -> None:
        """Take no more lines. The threads end with their streams, or with the process."""
        self._closed.set()

    def _read(self, deployment: str) -> None:
        self._requests.begin()
        try:
            for line in self._platform.runtime_logs(deployment, within=STREAM_S):
                if self._closed.is_set():
                    return
                self.trouble = None
                if request := self._reader.read(line):
                    self._requests.keep(request)
        except ToolkitError as error:
            self.trouble = error.what
