"""Start one deployment: `python -m toolkit.drill.service`, everything else from the environment.

The platform has bound the socket and listens already, so nobody is refused while this process starts. It ends with exit
status 0 on SIGTERM, or when its lifeline closes, after the requests in flight; with 2 when its environment is wrong.
"""

import logging
import os
import signal
import socket
import sys

import uvicorn

from toolkit import lifeline
from toolkit.drill.service.app import create_app
from toolkit.drill.service.environment import Environment
from toolkit.errors import ToolkitError

FINISH_WITHIN_S = 3


def main() -> None:
    """Serve until told to end."""
    lifeline.tie()
    # uvicorn sends itself the signal again when it is done; dying of it would look like a crash.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    # Failed connections show in the request log, as answers; the pool's own words name hosts and roles.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    try:
        environment = Environment.read(os.environ)
        application = create_app(environment)
    except ToolkitError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    config = uvicorn.Config(
        application,
        access_log=False,
        log_config=None,
        loop="asyncio",
        http="h11",
        ws="none",
        server_header=False,
        timeout_keep_alive=75,  # longer than the router keeps a connection, so that it never meets a closed one
        timeout_graceful_shutdown=FINISH_WITHIN_S,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=environment.listen_fd)])


if __name__ == "__main__":
    main()
