"""Swapping a restored copy in: done when the target itself says so, in the transaction that did it."""

import time
from collections.abc import Mapping
from typing import NoReturn

from toolkit.adapters.postgres import Connection, pid_of
from toolkit.errors import DatabaseError, RollbackError, ToolkitError
from toolkit.rollback.blocking import Blocker, BlockerWatch, hold_nothing_for_the_dead, sqlstate_of
from toolkit.rollback.locks_taken import locks_told
from toolkit.rollback.merge import release_queue
from toolkit.rollback.plan import SwapIn
from toolkit.rollback.restore.catalog import holders_of
from toolkit.rollback.restore.names import damaged_name, mark_of, restored_name
from toolkit.rollback.restore.records import Restored, Swapped, prepare, read_restored, read_swap
from toolkit.rollback.restore.reload import reload_tables
from toolkit.rollback.restore.swap_databases import reopen, swap_databases
from toolkit.rollback.restore.swap_databases import swap_back as swap_databases_back
from toolkit.rollback.restore.swap_schemas import prepare_swap, swap_back, swap_schemas
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings

AGAIN = ("55P03", "40P01", "40001")
LOCK_WITHIN_MS = 200
ENDING_TRIES, ENDING_LOCK_WITHIN_MS = 3, 3_000


class SwappingIn(Doing):
    """`SwapIn`, carried out."""

    def __init__(self, action: SwapIn, around: Surroundings) -> None:
        super().__init__(around)
        self.action, self._database = action, around.systems.database
        self._mark = mark_of(around.incident.id, action.source, around.plan.turn)
        self._counted: dict[str, int] = {}  # the copy's rows before the swap

    def require(self) -> None:
        self._database.require_session()
        self._reopen()
        if self.around.plan.server is not None and not self.around.rehearsal:
            self._database.require(self.around.plan.server)

    def look(self) -> Standing:
        self._reopen()
        with self._database.reading() as conn:
            swapped = read_swap(conn, self._mark)
        if swapped is None or swapped.state != "done":
            return Standing(False, "the copy was not swapped in")
        return Standing(True, f"the copy was swapped in; the damaged data is kept as {damaged_name(self._mark)}")

    def act(self) -> str:
        restored = self._whole()
        with self._database.writing() as conn:
            self.around.fence.guard(conn)
            prepare(conn)
        if self.action.way == "databases":
            swapped = swap_databases(self.around, self.action, restored)
        else:
            self._counted = prepare_swap(self.around, self.action, restored)
            swapped = self._patiently(restored)
        self.around.tell("restore.swapped", {"way": swapped.way, "told": dict(swapped.told)})
        return self._said(swapped)

    def state(self) -> str:
        try:
            return f"{self.look().evidence}; a swap is done whole or not at all"
        except ToolkitError as error:
            return f"whether the copy was swapped in is unknown: {error.what}"

    def undo(self) -> str | None:
        with self._database.reading() as conn:
            swapped = read_swap(conn, self._mark)
        if swapped is None or swapped.state != "done":
            return None
        if self._swap_back(swapped):
            return "the damaged data is live again, as nothing was written since"
        self._release()
        return None

    def _swap_back(self, swapped: Swapped) -> bool:
        if swapped.way == "databases":
            return swap_databases_back(self.around, swapped)
        if swapped.way == "reload":
            return False
        with self._database.writing(
            lock_within_ms=self._lock_within_ms, hang_up_after_s=self.around.patience.hang_up_after_s
        ) as conn:
            hold_nothing_for_the_dead(conn)
            self.around.fence.guard(conn)
            return swap_back(conn, swapped)

    def _release(self) -> None:
        """The swap stays, and nobody carries the plan on: what it holds would be held for ever."""
        queue = self.around.plan.held_queue
        if queue is None:
            return
        with self._database.writing(lock_within_ms=ENDING_LOCK_WITHIN_MS) as conn:
            self.around.fence.guard(conn)
            jobs = release_queue(conn, queue)
        self.around.tell("effects.released", {"queue": queue, "jobs": jobs})

    def _patiently(self, restored: Restored) -> Swapped:
        """In one transaction, tried until its locks could be had or the patience is used up. Then, where that was asked
        for, a few times more while whoever holds them is ended."""
        patience, endings, ending = self.around.patience, 0, False
        deadline = time.monotonic() + patience.give_up_after_s
        for tries, pause in enumerate(patience.pauses(), start=1):
            blockers: list[Blocker] = []
            try:
                return self._once(restored, blockers, ending=ending)
            except DatabaseError as error:
                if sqlstate_of(error) not in AGAIN:
                    raise
                blockers += () if blockers else self._holders(restored)
            spent = time.monotonic() > deadline
            ending = spent and self.around.end_blockers and endings < ENDING_TRIES
            endings += ending
            if spent and not ending:
                self._give_up(blockers, tries)
            told = {"attempt": tries, "blockers": [each.to_json() for each in blockers], "again_in_s": pause}
            self.around.tell("step.blocked", told)
            time.sleep(0 if ending else pause)
        raise AssertionError("pauses have no end")

    def _once(self, restored: Restored, blockers: list[Blocker], *, ending: bool) -> Swapped:
        """One try. Whoever was in the way is put into `blockers`, and, with `ending`, the fewest are ended."""
        with self._database.writing(
            lock_within_ms=ENDING_LOCK_WITHIN_MS if ending else self._lock_within_ms,
            hang_up_after_s=self.around.patience.hang_up_after_s,
        ) as conn:
            hold_nothing_for_the_dead(conn)
            watch = BlockerWatch(self._database, pid_of(conn), end_after_s=0 if ending else None)
            try:
                with watch:
                    return self._swap(conn, restored)
            finally:
                blockers += watch.seen
                if watch.ended.sessions or watch.ended.spared:
                    self.around.tell("step.blockers_ended", watch.ended.to_json())

    def _holders(self, restored: Restored) -> tuple[Blocker, ...]:
        """Who holds what we waited for, when nobody could be seen meanwhile."""
        with self._database.reading() as conn:
            return holders_of(conn, restored.schemas, older_than_ms=self._lock_within_ms)

    def _swap(self, conn: Connection, restored: Restored) -> Swapped:
        self.around.fence.guard(conn)
        swapped = read_swap(conn, self._mark)
        if swapped is not None and swapped.state == "done":
            return swapped
        began = time.monotonic()
        if self.action.way == "schemas":
            swapped = swap_schemas(conn, self.around, self.action, restored, self._counted)
        else:
            swapped = reload_tables(conn, self.around, self.action, restored)
        self.around.tell("step.locks", locks_told(conn, began))
        return swapped

    @property
    def _lock_within_ms(self) -> int:
        return min(LOCK_WITHIN_MS, self.around.patience.lock_within_ms)

    def _whole(self) -> Restored:
        with self._database.reading() as conn:
            restored = read_restored(conn, self._mark)
        if restored is None or restored.state != "whole" or restored.way != self.action.way:
            raise RollbackError(
                "No whole copy stands beside production to be swapped in",
                target=self._database.target,
                state="production was not touched",
                next="run the plan again: it restores beside first",
            )
        return restored

    def _reopen(self) -> None:
        """A run that died in the middle of a swap of databases has left production closed: nothing else comes first."""
        if self.action.way == "databases" and (said := reopen(self._database)):
            self.around.tell("restore.reopened", {"said": said})

    def _give_up(self, blockers: list[Blocker], tries: int) -> NoReturn:
        named = "; ".join(map(str, blockers)) or "nobody could be seen"
        raise RollbackError(
            f"The swap did not get its locks in {self.around.patience.give_up_after_s:g} s and {tries} tries. "
            f"In the way: {named}",
            target=self._database.target,
            state=self.state(),
            next=f"let it end, or end it: SELECT pg_terminate_backend({blockers[0].pid}); then run the plan again"
            if blockers
            else "run the plan again",
        )

    def _said(self, swapped: Swapped) -> str:
        told = swapped.told.get("merged")
        tables = told.get("tables", ()) if isinstance(told, Mapping) else ()
        carried = sum(each["inserted"] + each["changed"] + each["deleted"] for each in tables)
        conflicts = sum(each["conflicts"] for each in tables)
        listed = f"; {conflicts} conflicts are listed in toolkit.conflict" if conflicts else ""
        held = swapped.told.get("held_jobs")
        waiting = "" if held is None else f"; {held:,} waiting jobs are held until they are released"
        left = swapped.told.get("copy_left")
        beside = f"; the copy is left beside as {restored_name(self._mark)}: {left}" if left else ""
        return (
            f"the restored copy is live; what was acknowledged since the backup was carried over, {carried:,} changes "
            f"of it under the swap's locks{listed}{waiting}; the damaged data is kept as {damaged_name(self._mark)}"
            f"{beside}"
        )
