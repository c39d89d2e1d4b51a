"""One process that has imported what notebooks need, and forks a kernel for each: ready in a tenth of a second.

A fresh interpreter with its imports costs 5 s on two busy cores, for every notebook: most of an emergency.
A fork leaks nothing from one notebook to the next and dies alone. The server has one thread, serves one owner over a
socket pair, and ends, with all its kernels, when the owner does.

`ForkServer` is the owner's side, `main` the server's. Requests and answers are JSON lines:
    {"fork": connection file, "env": {…}, "cwd": path} → {"pid": n}
    {"poll": pid} → {"code": null or exit code}
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from toolkit.errors import NotebookError

IMPORTS = (
    "ipykernel.kernelapp",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "pandas",
    "pyarrow.parquet",
    "psycopg",
    "httpx",
    "jinja2",
    "markdown_it",
    "toolkit.notebook.desk",
)


class ForkServer:
    """The owner's side. Use it as a context; leaving it ends the server and its kernels."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "toolkit.notebook.forkserver", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        theirs.close()
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()

    def fork(self, connection_file: str, env: Mapping[str, str], cwd: str) -> "ForkedProcess":
        """Start a kernel. Waits for the server's imports the first time. NotebookError when the server is gone."""
        return ForkedProcess(self, self._ask({"fork": connection_file, "env": dict(env), "cwd": cwd})["pid"])

    def poll(self, pid: int) -> int | None:
        """The kernel's exit code; None while it runs."""
        code: int | None = self._ask({"poll": pid})["code"]
        return code

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            try:
                self._socket.sendall(json.dumps(request).encode() + b"\n")
                answer = self._lines.readline()
            except OSError:
                answer = ""
        if not answer:
            raise NotebookError(
                "The process that starts notebook kernels is gone",
                state="the notebook did not run",
                next="repeat the command; it starts a new one",
            )
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        """End the server and every kernel. Safe to repeat."""
        self._lines.close()
        self._socket.close()
        try:
            self._server.wait(5)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class ForkedProcess:
    """A forked kernel with the part of Popen's face that Jupyter's provisioner uses."""

    stdin = stdout = stderr = None

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server, self.pid = server, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            try:
                self.returncode = self._server.poll(self.pid)
            except NotebookError:
                self.returncode = -signal.SIGKILL
        return self.returncode

    def wait(self) -> int | None:
        return self.poll()

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def main() -> None:
    """`python -m toolkit.notebook.forkserver FD`: serve the owner at the other end of FD until it hangs up."""
    for name in IMPORTS:
        __import__(name)
    owner = socket.socket(fileno=int(sys.argv[1]))
    lifeline, held = os.pipe()
    exits: dict[int, int | None] = {}
    for line in owner.makefile("r", encoding="utf-8"):
        request = json.loads(line)
        if "fork" in request:
            pid = os.fork()
            if pid == 0:
                os.close(held)
                os.close(owner.fileno())
                _become_kernel(request, lifeline)
            exits[pid] = None
            answer: dict[str, int | None] = {"pid": pid}
        else:
            answer = {"code": _exit_code(request["poll"], exits)}
        owner.sendall(json.dumps(answer).encode() + b"\n")
    for pid, code in exits.items():
        if code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _exit_code(pid: int, exits: dict[int, int | None]) -> int | None:
    if exits.get(pid) is None:
        done, status = os.waitpid(pid, os.WNOHANG)
        exits[pid] = os.waitstatus_to_exitcode(status) if done else None
    return exits[pid]


def _become_kernel(request: Mapping[str, Any], lifeline: int) -> None:
    """In the child: a kernel like any other, on its own process group, that ends with the server. Never returns."""
    code = 1
    try:
        from ipykernel.kernelapp import IPKernelApp

        from toolkit.lifeline import VARIABLE, tie

        os.setsid()
        os.environ.clear()
        os.environ.update(request["env"])
        os.environ[VARIABLE] = str(lifeline)
        os.chdir(request["cwd"])
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):  # what cells print goes over the kernel's sockets, not here
            os.dup2(silence, stream)
        sys.path.insert(0, "")
        tie()
        IPKernelApp.launch_instance(argv=["-f", request["fork"], "--IPKernelApp.quiet=True"])
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
