"""A question in a thread of its own: each answer is taken once, and none that does not come holds up anybody."""

import threading

import pytest

from toolkit.clock import wait_until
from toolkit.detect import watch as watching
from toolkit.detect.watch import Watch
from toolkit.errors import DatabaseError


def test_each_answer_is_taken_once() -> None:
    go, numbers = threading.Event(), iter(range(100))

    def ask() -> int:
        go.wait(5)
        go.clear()
        return next(numbers) + 1

    watch = Watch("it", ask, every_s=0)
    watch.start()
    assert watch.take() is None
    for expected in (1, 2):
        go.set()
        wait_until(lambda wanted=expected: watch.take() == wanted, within=5, what="the answer", every=0.005)
        assert watch.take() is None
    watch.end()
    go.set()
    watch.join(5)


def test_an_answer_that_does_not_come_is_overdue_and_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "OVERDUE_S", 0.05)
    go, closed = threading.Event(), []
    watch = Watch("it", lambda: go.wait(10), every_s=60, close=lambda: closed.append(True))
    assert not watch.overdue
    watch.start()
    wait_until(lambda: watch.overdue, within=5, what="it to be overdue", every=0.005)
    assert watch.take() is None
    go.set()
    wait_until(watch.take, within=5, what="the answer after all", every=0.005)
    assert not watch.overdue and not closed
    watch.end()
    watch.join(5)
    assert closed == [True]


def test_it_outlives_what_it_meets_and_complains_once(capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        if len(asked) < 4:
            raise DatabaseError("gone") if len(asked) == 1 else ValueError("a row: secret")
        return len(asked)

    watch = Watch("the database", ask, every_s=0)
    watch.start()
    wait_until(watch.take, within=5, what="an answer", every=0.001)
    watch.end()
    watch.join(5)
    assert capfd.readouterr().err == "the database could not be asked: gone.\n"
