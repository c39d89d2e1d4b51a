"""The client's deadlines, over real sockets: silence, answers and streams that trickle, streams that break.

What hangs here hangs for far longer than a busy machine delays anything: LONG_S tells the deadline from the end of it.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from stand_in import StandIn, failure

from toolkit.adapters.vercel import VercelClient, VercelRefused

LONG_S = 15


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """One for all: no test here moves production."""
    running = StandIn.start(tmp_path_factory.mktemp("platform"))
    running.serving()
    yield running
    running.stop()


@pytest.fixture
def client(platform: StandIn) -> Iterator[VercelClient]:
    with platform.client() as made:
        yield made


def took(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


class TestCalls:
    def test_silence_ends_at_the_deadline(self, platform: StandIn) -> None:
        platform.misbehave("hang", hang_s=30)
        with platform.client(timeout_s=0.6) as client:
            began = time.monotonic()
            error = failure(client.deployments, platform.token)
            assert 0.5 < time.monotonic() - began < LONG_S
        assert "time is up" in error.what

    @pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Endless: "])
    def test_an_answer_that_trickles_ends_at_the_deadline(self, platform: StandIn, head: bytes) -> None:
        with trickle(head) as port, platform.client(api_url=f"http://127.0.0.1:{port}", timeout_s=0.6) as client:
            began = time.monotonic()
            failure(client.deployments, platform.token)
            assert time.monotonic() - began < LONG_S


class TestLogs:
    def test_lines_come_until_the_deadline(self, platform: StandIn, client: VercelClient) -> None:
        stop = threading.Event()

        def visit() -> None:
            while not stop.wait(0.1):
                platform.serving()

        visitor = threading.Thread(target=visit)
        visitor.start()
        began = time.monotonic()
        lines = list(client.runtime_logs(platform.past(8), within=1))
        assert 0.9 < time.monotonic() - began < LONG_S
        stop.set()
        visitor.join()
        assert len(lines) > 3
        told = {(line.method, line.path, line.status, line.level) for line in lines}
        assert told == {("GET", "/whoami", 200, "info")}
        moments = [line.at for line in lines]
        assert moments == sorted(moments)

    def test_a_quiet_stream_ends_at_the_deadline(self, platform: StandIn, client: VercelClient) -> None:
        assert 0.4 < took(lambda: list(client.runtime_logs(platform.past(8), within=0.5))) < LONG_S

    def test_a_stream_that_trickles_ends_at_the_deadline(self, platform: StandIn) -> None:
        with (
            trickle(b"HTTP/1.1 200 OK\r\n\r\n") as port,
            platform.client(api_url=f"http://127.0.0.1:{port}") as client,
        ):
            assert took(lambda: list(client.runtime_logs("dpl_x", within=0.5))) < LONG_S

    def test_what_cannot_be_followed_is_an_error(self, platform: StandIn, client: VercelClient) -> None:
        error = failure(lambda: list(client.runtime_logs("dpl_none", within=5)), platform.token, VercelRefused)
        assert error.status == 404

    def test_a_stream_that_breaks_is_an_error(self, platform: StandIn) -> None:
        with (
            trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", drips=2) as port,
            platform.client(api_url=f"http://127.0.0.1:{port}") as client,
        ):
            failure(lambda: list(client.runtime_logs("dpl_x", within=5)), platform.token)


@contextmanager
def trickle(head: bytes, drips: int | None = None) -> Iterator[int]:
    """A server that answers with `head` and then a byte now and then, for ever or so many."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            server.settimeout(10)
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head)
                left = drips
                while left != 0 and not stop.wait(0.05):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return
                    left = left - 1 if left else None

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            thread.join()
