"""The service processes, one for each running deployment: started when asked for, listened to, and ended.

It owns the processes and their sockets. A process ends with the platform, whatever happens (`toolkit.lifeline`). It
must never put a deployment's environment into a log, an argument list or an error.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import httpx

from toolkit.drill.platform.deployments import Deployment
from toolkit.lifeline import Lifeline, spawn

TakeLine = Callable[[str, bytes], None]

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "SYSTEMROOT")
_LONGEST_LINE = 1024 * 1024
_STOP_S = 5.0
_IDLE_S = 10.0
_PAUSES_S = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)  # between starts of a deployment that dies again and again


class StartFailed(Exception):
    """The deployment's process ended, or did not answer, before its first answer to a health check."""


class ServiceProcess:
    """One deployment's process. `url` answers once `answering` is true; `in_flight` counts the router's requests."""

    def __init__(self, deployment: Deployment, argv: Sequence[str], lifeline: Lifeline, take: TakeLine) -> None:
        self.deployment_id, self.in_flight, self.answering = deployment.id, 0, False
        self._take = take
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(128)
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            self._process = spawn(
                argv,
                lifeline=lifeline,
                env=_environment(deployment, listening.fileno()),
                pass_fds=(listening.fileno(),),
                stdout=subprocess.PIPE,
            )
        # Our copy of the socket is closed by now, so that a dead process refuses connections instead of keeping them.
        self._reading = asyncio.create_task(self._read())

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def await_answer(self, client: httpx.AsyncClient, within: float) -> None:
        """Wait for any answer to a health check, 503 included. Raises StartFailed."""
        asking = asyncio.create_task(_ask(client, f"{self.url}/api/health", within))
        await asyncio.wait({asking, self._reading}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        try:
            if not asking.done():
                raise StartFailed("ended" if self._reading.done() else f"gave no answer within {within:g} s")
            asking.result()
            self.answering = True
        except httpx.HTTPError as error:
            raise StartFailed(type(error).__name__) from None
        finally:
            asking.cancel()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after a while. Its last lines are read. Safe to repeat."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(asyncio.to_thread(self._process.wait, _STOP_S), _STOP_S + 1)
            except (subprocess.TimeoutExpired, TimeoutError):
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
        await asyncio.wait({self._reading}, timeout=1)
        self._reading.cancel()

    async def _read(self) -> None:
        """Hand on whole lines until the process closes its output. A torn last line is dropped."""
        assert self._process.stdout
        reader = asyncio.StreamReader(limit=_LONGEST_LINE)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        try:
            while True:
                try:
                    line = await reader.readuntil(b"\n")
                except asyncio.LimitOverrunError as error:
                    await reader.readexactly(error.consumed)
                    continue
                if text := line.strip():
                    self._take(self.deployment_id, text)
        except asyncio.IncompleteReadError:
            await asyncio.to_thread(self._process.wait)
        finally:
            transport.close()


class Fleet:
    """All running deployments. One start at a time for each, however many requests are waiting for it."""

    def __init__(self, argv: Sequence[str], lifeline: Lifeline, take: TakeLine, *, start_timeout_s: float) -> None:
        self._argv, self._lifeline, self._take, self._start_timeout_s = argv, lifeline, take, start_timeout_s
        self._client = httpx.AsyncClient(trust_env=False)
        self._processes: dict[str, ServiceProcess] = {}
        self._starting: dict[str, asyncio.Task[ServiceProcess]] = {}
        self._failures: dict[str, tuple[int, float]] = {}  # how often in a row, and when last (monotonic)
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> dict[str, int]:
        """Deployment id to process id."""
        return {name: process.pid for name, process in self._processes.items() if process.running}

    async def process(self, deployment: Deployment) -> ServiceProcess:
        """The deployment's process, started if it is not running, once it answers. Raises StartFailed."""
        process = self._processes.get(deployment.id)
        if process and process.running and process.answering:
            return process
        starting = self._starting.get(deployment.id)
        if starting is None:
            starting = asyncio.create_task(self._start(deployment))
            self._starting[deployment.id] = starting
            starting.add_done_callback(lambda done: self._started(deployment.id, done))
        return await asyncio.shield(starting)

    def retire(self, keep: set[str]) -> None:
        """End what is not to be kept, each once its requests are answered."""
        for name in set(self._processes) - keep:
            task = asyncio.create_task(self._retire(self._processes.pop(name)))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        """End every process and wait for it."""
        for starting in list(self._starting.values()):
            starting.cancel()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        await asyncio.gather(*(process.stop() for process in self._processes.values()), *self._retiring)
        await self._client.aclose()

    async def _start(self, deployment: Deployment) -> ServiceProcess:
        self._refuse_while_pausing(deployment.id)
        if gone := self._processes.pop(deployment.id, None):
            await gone.stop()
        process = ServiceProcess(deployment, self._argv, self._lifeline, self._take)
        self._processes[deployment.id] = process
        try:
            await process.await_answer(self._client, self._start_timeout_s)
        except BaseException:
            await process.stop()
            raise
        return process

    def _started(self, deployment_id: str, done: asyncio.Task[ServiceProcess]) -> None:
        self._starting.pop(deployment_id, None)
        if done.cancelled() or done.exception() is None:
            self._failures.pop(deployment_id, None)
        elif not isinstance(done.exception(), _Pausing):
            count, _ = self._failures.get(deployment_id, (0, 0.0))
            self._failures[deployment_id] = (count + 1, time.monotonic())
            sys.stderr.write(f"{deployment_id} could not be started: {done.exception()}\n")

    def _refuse_while_pausing(self, deployment_id: str) -> None:
        count, since = self._failures.get(deployment_id, (0, 0.0))
        if time.monotonic() < since + _PAUSES_S[min(count, len(_PAUSES_S) - 1)]:
            raise _Pausing("it died at its last start, and the next one is not due yet")

    async def _retire(self, process: ServiceProcess) -> None:
        deadline = time.monotonic() + _IDLE_S
        while process.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        await process.stop()


class _Pausing(StartFailed):
    """Not tried: the deployment died at its last starts."""


async def _ask(client: httpx.AsyncClient, url: str, within: float) -> None:
    await client.get(url, timeout=within, headers={"Connection": "close"})


def _environment(deployment: Deployment, listen_fd: int) -> dict[str, str]:
    own = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **own,
        "PYTHONUNBUFFERED": "1",
        **deployment.environment,
        "LISTEN_FD": str(listen_fd),
        "DEPLOYMENT_ID": deployment.id,
        "BUILD": str(deployment.build),
    }
