"""How commands and notebooks reach the director: one question, one answer, over a socket of this machine and a key.

It carries JSON and knows no question by name. The director answers one at a time, in its own time.
"""

import contextlib
import json
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from toolkit.drill.gameday.place import GameDayState
from toolkit.errors import DeadlineExceeded, ToolkitError, UsageError

HOST = "127.0.0.1"

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """What somebody asked, by whom; `answer` or `refuse` it once."""

    what: str
    more: Mapping[str, Any]
    _line: Connection

    def answer(self, found: Answer) -> None:
        """Whoever asked may have gone."""
        with contextlib.suppress(OSError), self._line:
            self._line.send_bytes(json.dumps({"answer": found}, default=str).encode())

    def refuse(self, error: ToolkitError) -> None:
        told = {"what": error.what, "state": error.state, "next": error.next, "exit_code": error.exit_code}
        with contextlib.suppress(OSError), self._line:
            self._line.send_bytes(json.dumps({"refused": told}).encode())


class Ear:
    """The director's side: questions come into `heard`, from a thread that ends with the process."""

    def __init__(self, key: str) -> None:
        self._listener = Listener((HOST, 0), backlog=16, authkey=bytes.fromhex(key))
        self.heard: queue.Queue[Question] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.address[1])

    def _listen(self) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError, AuthenticationError, ValueError, KeyError, TypeError):
                line = self._listener.accept()
                asked = json.loads(line.recv_bytes())
                self.heard.put(Question(asked.pop("what"), asked, line))


def ask(state: GameDayState, what: str, *, within_s: float, **more: object) -> Answer:
    """Ask the director. Raises what it refuses with, DeadlineExceeded when it does not answer within `within_s`
    seconds, ToolkitError when it is gone.
    """
    try:
        with Client((HOST, state.port), authkey=bytes.fromhex(state.key)) as line:
            line.send_bytes(json.dumps({"what": what} | more).encode())
            if not line.poll(within_s):
                raise DeadlineExceeded(
                    f"The game day's director did not answer within {within_s:g} s",
                    state="it may still do what was asked",
                    next="toolkit gameday status; toolkit gameday abort ends it in any case",
                )
            said = json.loads(line.recv_bytes())
    except (OSError, EOFError, AuthenticationError):
        raise ToolkitError(
            "The game day's director ended meanwhile",
            state=f"the evidence so far is in {state.folder}",
            next="toolkit gameday finish writes what can be told",
        ) from None
    if refused := said.get("refused"):
        kind = UsageError if refused.pop("exit_code") == UsageError.exit_code else ToolkitError
        raise kind(refused.pop("what"), **refused)
    answer: Answer = said["answer"]
    return answer
