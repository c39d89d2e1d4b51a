"""A pooler in session mode, as Supavisor is one: it drops what a client asks for when it connects, and tells it another
process id. Each client has a session of the server of its own, which ends with it."""

import contextlib
import socket
import struct
import threading
from typing import Self
from urllib.parse import urlsplit, urlunsplit

PROTOCOL = 196608
TOLD_PID = 1


class SessionPooler:
    """Stands before a server on 127.0.0.1. Use as a context manager."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def url(self, direct: str, host: str) -> str:
        """That URL through the pooler, under a host's name that nobody looks up."""
        parts = urlsplit(direct)
        netloc = f"{parts.netloc.rpartition('@')[0]}@{host}:{self._listening.getsockname()[1]}"
        return urlunsplit(parts._replace(netloc=netloc, query="hostaddr=127.0.0.1&sslmode=disable"))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=[self._listening.accept()[0]], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            (size,) = struct.unpack("!i", _exactly(client, 4))
            words = _exactly(client, size - 4)[4:].split(b"\0")
            asked = dict(zip(words[::2], words[1::2], strict=False))
            kept = {b"user": asked[b"user"], b"database": asked[b"database"], b"application_name": b"Supavisor"}
            body = struct.pack("!i", PROTOCOL) + b"".join(k + b"\0" + v + b"\0" for k, v in kept.items()) + b"\0"
            server.sendall(struct.pack("!i", len(body) + 4) + body)
            threading.Thread(target=_copy, args=[client, server], daemon=True).start()
            self._answer(server, client)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        """The server's words up to the first 'ready', with another process id; the rest as it comes."""
        kind = b""
        while kind != b"Z":
            head = _exactly(server, 5)
            kind, (size,) = head[:1], struct.unpack("!i", head[1:])
            body = _exactly(server, size - 4)
            if kind == b"K":
                body = struct.pack("!i", TOLD_PID) + body[4:]
            client.sendall(head + body)
        _copy(server, client)


def _exactly(line: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        more = line.recv(size - len(got))
        if not more:
            raise ConnectionResetError
        got += more
    return got


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while more := source.recv(1 << 16):
            target.sendall(more)
        target.shutdown(socket.SHUT_RDWR)
