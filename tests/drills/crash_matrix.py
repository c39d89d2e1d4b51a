"""The whole crash matrix, printed as a table: `python crash_matrix.py [WORD]…` plays the cells that hold all words.

Two cells at a time, for there is waiting in each. It ends with 1 when anything in a cell is not as it must be.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from crash_cell import Seen, driving, play
from crash_types import CELLS, Cell

AT_ONCE = 2
NARROW = 300


def table(found: Mapping[Cell, Seen]) -> str:
    """All cells as lines: what was hit, how many runs it took, how long, and what is wrong."""
    width = max(len(str(cell)) for cell in found)
    lines = [f"{'cell':{width}} {'runs':>4} {'s':>6}  outcome"]
    for cell, seen in found.items():
        outcome = "; ".join(seen.wrong)[:NARROW] or "as it should be"
        lines.append(f"{cell!s:{width}} {seen.runs:4} {seen.seconds:6.1f}  {outcome}")
    bad = sum(bool(seen.wrong) for seen in found.values())
    return "\n".join([*lines, f"{len(found)} cells, {bad} wrong"])


def play_all(wanted: Sequence[Cell]) -> dict[Cell, Seen]:
    """In any order, told as they end; the answer is in theirs."""
    waiting: SimpleQueue[Cell] = SimpleQueue()
    for cell in wanted:
        waiting.put(cell)
    found: dict[Cell, Seen] = {}

    def work() -> None:
        with driving():
            while not waiting.empty():
                cell = waiting.get()
                found[cell] = _played(cell)
                told = "; ".join(found[cell].wrong) or "as it should be"
                sys.stderr.write(f"{len(found)}/{len(wanted)} {cell}: {found[cell].seconds:.1f} s, {told}\n")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for worker in [pool.submit(work) for _ in range(AT_ONCE)]:
            worker.result()
    return {cell: found[cell] for cell in wanted}


def _played(cell: Cell) -> Seen:
    """A cell that cannot even be played is wrong, and no reason to play no other."""
    try:
        return play(cell)
    except Exception as error:  # whatever it is, it is told
        return Seen(wrong=[f"{type(error).__name__}: {error}"])


def main() -> int:
    words = sys.argv[1:]
    wanted = [cell for cell in CELLS if all(word in str(cell) for word in words)]
    if not wanted:
        sys.stderr.write(f"no cell holds {' and '.join(words)}\n")
        return 2
    began = time.monotonic()
    found = play_all(wanted)
    sys.stdout.write(f"{table(found)}, {time.monotonic() - began:.0f} s\n")
    return 1 if any(seen.wrong for seen in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
