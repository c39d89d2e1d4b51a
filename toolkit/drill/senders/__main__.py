"""`python -m toolkit.drill.senders CONFIG.json`: send until told otherwise.

SIGUSR1: nothing new, go on until all is acknowledged or 20 seconds have passed, then exit 0. SIGTERM: stop at once.
Prints one line to standard output, `{"ready": true}`, when it has begun.
"""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from pathlib import Path

from pydantic import SecretStr, ValidationError

from toolkit.drill.ledger import Ledger
from toolkit.drill.senders.caller import Caller
from toolkit.drill.senders.traffic import OTHER_CONNECTIONS, WEBHOOK_CONNECTIONS, SendersConfig, Traffic
from toolkit.errors import ToolkitError, UsageError
from toolkit.lifeline import tie
from toolkit.redaction import keep_secret


def main(arguments: list[str]) -> int:
    """Run the senders. Returns the exit code."""
    tie()
    try:
        if len(arguments) != 1:
            raise UsageError("One argument is wanted, the configuration file")
        config = load_config(Path(arguments[0]))
        asyncio.run(send(config, _secret(config.webhook_secret_env), _secret(config.cron_secret_env)))
    except sqlite3.Error as error:
        return _tell(unwritable(error))
    except ToolkitError as error:
        return _tell(error)
    return 0


def _tell(error: ToolkitError) -> int:
    sys.stderr.write(f"senders: {error}\n")
    return error.exit_code


def load_config(path: Path) -> SendersConfig:
    """Read and check the configuration. Raises UsageError that names every key that is wrong."""
    try:
        return SendersConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in error.errors())
        raise UsageError(f"{path} is wrong: {wrong}") from None


async def send(config: SendersConfig, webhook_secret: SecretStr, cron_secret: SecretStr) -> None:
    """Send until a signal ends it."""
    connections = WEBHOOK_CONNECTIONS + OTHER_CONNECTIONS
    with Ledger(config.ledger) as ledger:
        async with Caller(config.service_url, connections) as caller:
            traffic = Traffic(config, webhook_secret, cron_secret, ledger, caller)
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, traffic.drain)
            for ending in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(ending, traffic.stop)
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.write('{"ready": true}\n')
                sys.stdout.flush()
            await traffic.run()


def unwritable(error: sqlite3.Error) -> ToolkitError:
    """What a person reads when the ledger takes no more. Without it nothing may be sent."""
    return ToolkitError(
        f"The ledger cannot be written: {error}",
        state="the senders have stopped; nothing was sent that is not in the ledger",
        next="make room for it, then start again with a fresh ledger",
    )


def _secret(variable: str) -> SecretStr:
    value = os.environ.get(variable)
    if not value:
        raise UsageError(f"{variable} is not set", next="export it, then start the senders again")
    keep_secret(value)
    return SecretStr(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
