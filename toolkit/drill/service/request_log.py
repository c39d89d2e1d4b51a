"""One JSON line for each request, on standard output: what was asked, what was answered, how long it took, what broke.

This is also where an error becomes an answer, since both need to know what it was. It must never write a payload, a
user's id, a secret, an error's DETAIL or a row's values: the line goes into reports.
"""

import json
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolkit.clock import iso, utc_now
from toolkit.drill.service.environment import Environment
from toolkit.drill.service.maintenance import READING, in_maintenance, is_frozen

RETRY_AFTER_S = 1
REQUEST_ID_LENGTH = 128


@dataclass(frozen=True)
class Failure:
    """What may be told of an error. `message` is the server's primary message, or what kind of error it was."""

    type: str
    message: str
    sqlstate: str | None = None
    constraint: str | None = None
    relation: str | None = None
    column: str | None = None

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        kind = type(error).__name__
        if not isinstance(error, psycopg.Error):
            return cls(kind, "the code failed")
        if error.sqlstate is None:
            return cls(kind, "no connection to the database")
        diag = error.diag
        # Class 22 (data exceptions) quotes the value that it could not read.
        message = kind if error.sqlstate.startswith("22") else (diag.message_primary or kind)
        return cls(kind, message, error.sqlstate, diag.constraint_name, diag.table_name, diag.column_name)


@dataclass
class Note:
    """What a handler adds to its request's line."""

    message: str | None = None
    event_type: str | None = None
    failure: Failure | None = None


def note_of(request: Request) -> Note:
    """The note of the request that is being answered."""
    note = request.scope["note"]
    assert isinstance(note, Note)
    return note


def answer_to(error: Exception, method: str) -> Response:
    """503 when the database is away, busy or frozen (try again), 500 when the code and the schema do not fit."""
    if is_frozen(error, method):
        return in_maintenance()
    if isinstance(error, psycopg.OperationalError):
        headers = {"retry-after": str(RETRY_AFTER_S)}
        return JSONResponse({"error": "database_unavailable"}, status_code=503, headers=headers)
    return JSONResponse({"error": "internal_error"}, status_code=500)


class RequestLog:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, environment: Environment) -> None:
        self._app, self._environment = app, environment

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        note = scope["note"] = Note()
        began, status = time.monotonic(), 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._environment.maintenance and scope["method"] not in READING:
                note.message = "maintenance mode is on"
                await in_maintenance()(scope, receive, watch)
            else:
                await self._app(scope, receive, watch)
        except Exception as error:  # the last one to see it
            note.failure = Failure.of(error)
            if not isinstance(error, psycopg.Error):
                _say_where(error)
            if not status:
                await answer_to(error, scope["method"])(scope, receive, watch)
        self._write(scope, note, status, (time.monotonic() - began) * 1000)

    def _write(self, scope: Scope, note: Note, status: int, ms: float) -> None:
        failure = note.failure
        line = {
            "at": iso(utc_now()),
            "level": "error" if failure or status >= 500 else "info",
            "message": note.message or (failure.message if failure else f"answered {status}"),
            "deployment": self._environment.deployment,
            "build": self._environment.build,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "ms": round(ms, 2),
            "request_id": _request_id(scope),
            "event_type": note.event_type,
            "error": vars(failure) if failure else None,
        }
        with suppress(OSError):  # nobody reads any more: the platform is gone, and so are we in a moment
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


def _request_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return str(value.decode("latin-1"))[:REQUEST_ID_LENGTH]
    return None


def _say_where(error: Exception) -> None:
    """Where the code failed, without what it held: an exception's text may quote a row."""
    where = "".join(traceback.format_tb(error.__traceback__))
    sys.stderr.write(f"{type(error).__name__} at:\n{where}")
    sys.stderr.flush()
