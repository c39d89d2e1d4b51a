"""Regret: the same fault on copies, answered in every way and by waiting, to see which would have been best.

How far an answer was from the best in hindsight is two figures, seconds and rows, and stays two. Seconds are from the
fault until senders and data were seen to be well again, by the facilitator's look; rows are those that were
acknowledged and are not there as they should be. The best answer heals, loses the fewest rows, and is the quickest of
those.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten

from toolkit.drill.judgement import LOOKED
from toolkit.drill.line import Drill
from toolkit.drill.scenario import Scenario
from toolkit.drill.score import Score, moment_of_fault
from toolkit.errors import ToolkitError
from toolkit.incident import FACILITATOR_FILE
from toolkit.journal import Journal

PLAYED = ("migration", "application", "restore", "emergency", "fix-forward", "wait")
FILE = "regret.json"
SHOWN = 70  # characters of what stopped an answer; all of it is in the file


@dataclass(frozen=True)
class Outcome:
    """What came of one answer. `seconds` and `rows` are None where it did not heal, or was not counted."""

    answer: str
    verdict: str
    healed: bool
    seconds: float | None
    rows: int | None
    said: str

    def row(self) -> dict[str, object]:
        """For a table."""
        return {
            "answer": self.answer.replace("-", " "),
            "by the key": self.verdict,
            "well again after": "never" if self.seconds is None else f"{self.seconds:.1f} s",
            "rows lost or wrong": "not counted" if self.rows is None else self.rows,
            "what stopped it": shorten(self.said, SHOWN, placeholder=" …") or "nothing",
        }


def play(
    scenario: Scenario, seed: int, folder: Path, *, listen: Callable[[Outcome], None] = lambda _o: None
) -> list[Outcome]:
    """Answer it in each way, one after the other, on copies; `folder` must not exist. `listen` hears each outcome.

    By hand only where the scenario says how. Raises UsageError as a drill does, and ToolkitError when a sandbox does
    not come up. The outcomes are kept in `folder` too.
    """
    found = []
    for kind in PLAYED:
        if kind == "fix-forward" and not scenario.undo:
            continue
        found.append(_answered(scenario, kind, seed, folder / kind))
        listen(found[-1])
    (folder / FILE).write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    return found


def _answered(scenario: Scenario, kind: str, seed: int, folder: Path) -> Outcome:
    score = Drill(scenario, seed, folder, answer=kind, cloned=True).run()
    return outcome_of(scenario, kind, score, folder)


def outcome_of(scenario: Scenario, kind: str, score: Score, folder: Path) -> Outcome:
    """What a drill that was played came to."""
    healed = score.hypothesis.get("after") is True
    begun = moment_of_fault(folder)
    entries = Journal(folder / FACILITATOR_FILE, folder.name).entries()
    seen = next((e.at for e in entries if e.kind == LOOKED and e.data["when"] == "after" and e.data["holds"]), None)
    seconds = round((seen - begun).total_seconds(), 1) if healed and seen and begun else None
    parts = (score.lost, score.duplicated, score.unexpected, score.effects_wrong)
    rows = None if None in parts else sum(part or 0 for part in parts)
    return Outcome(kind, scenario.verdict(kind), healed, seconds, rows, _first_sentence(score.stopped_by or ""))


def best(outcomes: list[Outcome]) -> Outcome | None:
    """Of those that healed, the one with the fewest rows lost, and of these the quickest; None where none healed."""
    healed = [each for each in outcomes if each.seconds is not None and each.rows is not None]
    return min(healed, key=lambda each: (each.rows, each.seconds), default=None)


def regret(chosen: Outcome, outcomes: list[Outcome]) -> Mapping[str, float | None]:
    """{'seconds', 'rows'} between what was chosen and the best; None where the choice did not heal. {} where nothing
    did. Below nought in seconds: the best lost fewer rows, and took longer."""
    known = best([*outcomes, chosen])
    if known is None or known.seconds is None or known.rows is None:
        return {}
    rows = None if chosen.rows is None else chosen.rows - known.rows
    return {"seconds": None if chosen.seconds is None else round(chosen.seconds - known.seconds, 1), "rows": rows}


def require_new(folder: Path) -> None:
    """ToolkitError where that folder exists: what was played stays as it is."""
    if folder.exists():
        raise ToolkitError(f"{folder} exists already", state="nothing was done", next="name another with --out")


def _first_sentence(text: str) -> str:
    return text.split(". ", maxsplit=1)[0].strip().rstrip(".")
