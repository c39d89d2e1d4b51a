"""What a question of a diagnosis answers: rows for a table, and what is unusual in them."""

from collections.abc import Sequence
from dataclasses import dataclass

Row = dict[str, object]


@dataclass(frozen=True)
class Answer:
    """`rows` are for people; `unusual` is a sentence for each thing that one should look at."""

    rows: Sequence[Row]
    unusual: Sequence[str] = ()
