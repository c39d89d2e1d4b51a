"""`python -m toolkit.drill.platform CONFIG.json`: the stand-in's process. SIGTERM, or its lifeline's end, ends it."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from toolkit import lifeline
from toolkit.drill.platform.api import api_application
from toolkit.drill.platform.config import PlatformConfig, read_config
from toolkit.drill.platform.operations import Platform
from toolkit.drill.platform.router import Router
from toolkit.errors import ToolkitError

_GRACE_S = 3


class _Server(uvicorn.Server):
    """One of two servers in one process: the process itself, not each server, takes the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(application: ASGIApp) -> _Server:
    return _Server(
        uvicorn.Config(
            application,
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )


async def serve(config: PlatformConfig) -> None:
    """Serve both addresses until SIGTERM or SIGINT, then end every deployment's process."""
    platform = Platform(config, lifeline.Lifeline.inherited())
    router = Router(platform)
    pairs = [(_server(api_application(platform)), config.api_fd), (_server(router), config.production_fd)]

    def end() -> None:
        platform.logs.end_followers()
        for server, _ in pairs:
            server.should_exit = True

    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, end)
    platform.start()
    try:
        await asyncio.gather(*(server.serve(sockets=[socket.socket(fileno=fd)]) for server, fd in pairs))
    finally:
        await router.close()
        await platform.close()


def main() -> int:
    """Exit status 0 after an orderly end, 2 for a wrong configuration."""
    lifeline.tie()
    if len(sys.argv) != 2:
        sys.stderr.write("Usage: python -m toolkit.drill.platform CONFIG.json\n")
        return 2
    try:
        asyncio.run(serve(read_config(Path(sys.argv[1]))))
    except ToolkitError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
