"""No process outlives the one it was started for, however that one ends.

A lifeline is a pipe. The parent alone holds the writing end and never writes; every child inherits the reading end and
waits on it. When the parent is gone, by exit, Ctrl-C or `kill -9`, the kernel closes the pipe and each child ends
itself. This works on Linux and macOS alike, needs no polling, and reaches grandchildren through the same pipe.

A program that knows nothing of this (PostgreSQL) is started through `python -m toolkit.lifeline [--user NAME]
[--remove FOLDER] SIGNAL PROGRAM …`, which waits beside it and passes the end on as that signal.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

VARIABLE = "TOOLKIT_LIFELINE_FD"
GRACE_S = 5.0


class Lifeline:
    """The parent's end of the pipe, or, in a child, the end that it inherited."""

    def __init__(self, reading: int, writing: int | None) -> None:
        self.reading, self._writing = reading, writing

    @classmethod
    def create(cls) -> "Lifeline":
        """A new pipe: children started on it end when this process does, or at `cut`."""
        return cls(*os.pipe())

    @classmethod
    def inherited(cls) -> "Lifeline":
        """The pipe this process was started on, to hand on to children of its own."""
        return cls(int(os.environ[VARIABLE]), None)

    def cut(self) -> None:
        """End every child on this lifeline now. Safe to repeat."""
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None


def spawn(
    argv: Sequence[str | Path],
    *,
    lifeline: Lifeline,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    stdin: int | IO[Any] | None = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a child that ends with this process. The child must call `tie` first thing.

    It gets a process group of its own, so that Ctrl-C at the terminal reaches only the parent, which ends it in order.
    """
    environment = dict(os.environ if env is None else env) | {VARIABLE: str(lifeline.reading)}
    return subprocess.Popen(
        [str(word) for word in argv],
        env=environment,
        pass_fds=(lifeline.reading, *pass_fds),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        process_group=0,
    )


def tie(grace_s: float = GRACE_S) -> None:
    """End this process when its lifeline closes: SIGTERM first, after `grace_s` seconds at once.

    Does nothing in a process that was started without a lifeline (by hand, say).
    """
    if VARIABLE in os.environ:
        threading.Thread(target=_end_when_closed, args=(int(os.environ[VARIABLE]), grace_s), daemon=True).start()


def _end_when_closed(reading: int, grace_s: float) -> None:
    _wait_for_close(reading)
    timer = threading.Timer(grace_s, os._exit, (1,))
    timer.daemon = True
    timer.start()
    os.kill(os.getpid(), signal.SIGTERM)


def _wait_for_close(reading: int) -> None:
    while os.read(reading, 1):
        pass


def main() -> None:
    """`python -m toolkit.lifeline [--user NAME] [--remove FOLDER] SIGNAL PROGRAM …`: run a program, send it SIGNAL when
    the line closes, and then remove FOLDER: whoever would have done it is dead.

    Signals to this process are passed on, and its exit code is the program's.
    """
    argv, options = sys.argv[1:], {"--user": "", "--remove": ""}
    while argv[0] in options:
        options[argv[0]], argv = argv[1], argv[2:]
    user, closed = options["--user"] or None, threading.Event()
    ending = signal.Signals[argv[0]]
    group = None if user is None else pwd.getpwnam(user).pw_gid
    groups = None if group is None else [group]
    child = subprocess.Popen(argv[1:], process_group=0, user=user, group=group, extra_groups=groups, cwd="/")
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(signum, lambda received, _frame: child.send_signal(received))

    def end() -> None:
        _wait_for_close(int(os.environ[VARIABLE]))
        closed.set()
        child.send_signal(ending)

    threading.Thread(target=end, daemon=True).start()
    code = child.wait()
    if options["--remove"] and closed.is_set():
        shutil.rmtree(options["--remove"], ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
