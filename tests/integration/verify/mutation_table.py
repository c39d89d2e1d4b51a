"""Which mutations verification finds, as a table: `python mutation_table.py [WORD]…` plays those that hold all words.

Each is played on a fresh copy, under some traffic, with the whole verification. It ends with 1 when one was missed or
what the service does by right raised an alarm. `make mutations` runs it.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for what all integration tests share

from mutation_cell import World, change, failing, make_template, stable_of, world
from mutations import ALLOWED, MUTATIONS
from service_mutations import SERVICE

from toolkit.adapters.postgres import StablePoint
from toolkit.drill.database import ServiceDatabase, create_roles
from toolkit.lifeline import Lifeline
from toolkit.places import runtime_home
from toolkit.server import PostgresServer

NAMED = 2


@dataclass(frozen=True)
class Mutation:
    """`found_by`: the checks that should tell it; none for what is no fault."""

    name: str
    play: Callable[[World], None]
    found_by: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Seen:
    mutation: Mutation
    alarms: frozenset[str]
    seconds: float

    @property
    def right(self) -> bool:
        """Found by each check that should tell it; or, where nothing is wrong, by none."""
        return self.mutation.found_by <= self.alarms if self.mutation.found_by else not self.alarms

    @property
    def told(self) -> str:
        expected = sorted(self.mutation.found_by & self.alarms)
        others = len(self.alarms) - len(expected)
        if not self.mutation.found_by:
            return "; ".join(sorted(self.alarms)) or "no alarm, as it should be"
        named = "; ".join(expected[:NAMED]) or "NOT FOUND"
        more = len(expected) - NAMED
        return named + (f"; and {max(more, 0) + others} more" if max(more, 0) + others else "")


def mutations() -> list[Mutation]:
    """What is no fault first."""
    right = {"nothing": ""} | ALLOWED
    return [
        *(Mutation(name, _statements(statements)) for name, statements in right.items()),
        *(Mutation(name, _statements(wrong), frozenset(by)) for name, (wrong, by) in MUTATIONS.items()),
        *(Mutation(name, mutate, frozenset(by)) for name, (mutate, by) in SERVICE.items()),
    ]


def _statements(statements: str) -> Callable[[World], None]:
    return lambda world: change(world.database, statements) if statements else None


@contextmanager
def _server() -> Iterator[tuple[ServiceDatabase, StablePoint]]:
    line, home = Lifeline.create(), Path(tempfile.mkdtemp(prefix="mutations-", dir=runtime_home()))
    home.chmod(0o711)
    server = PostgresServer.create(home, line)
    try:
        template = make_template(server, create_roles(server))
        yield template, stable_of(template)
    finally:
        server.stop(immediately=True)
        shutil.rmtree(home)
        line.cut()


def play(mutation: Mutation, template: ServiceDatabase, stable: StablePoint) -> Seen:
    with world(template, stable) as one:
        mutation.play(one)
        began = time.monotonic()
        return Seen(mutation, frozenset(failing(one.verify())), time.monotonic() - began)


def main() -> int:
    words = sys.argv[1:]
    wanted = [each for each in mutations() if all(word in each.name for word in words)]
    if not wanted:
        sys.stderr.write(f"no mutation holds {' and '.join(words)}\n")
        return 2
    width, began, seen = max(len(each.name) for each in wanted), time.monotonic(), list[Seen]()
    sys.stdout.write(f"{'mutation':{width}} {'s':>5}  found by\n")
    with _server() as (template, stable):
        for each in wanted:
            seen.append(play(each, template, stable))
            sys.stdout.write(f"{each.name:{width}} {seen[-1].seconds:5.1f}  {seen[-1].told}\n")
            sys.stdout.flush()
    wrong, faults = [one for one in seen if one.mutation.found_by], sum(bool(each.found_by) for each in wanted)
    alarms = sum(not one.right for one in seen if not one.mutation.found_by)
    found = sum(one.right for one in wrong)
    summary = f"{found} of {faults} mutations found; {alarms} false alarms in {len(wanted) - faults} that are none"
    sys.stdout.write(f"{summary}; {time.monotonic() - began:.0f} s\n")
    return 0 if found == faults and not alarms else 1


if __name__ == "__main__":
    sys.exit(main())
