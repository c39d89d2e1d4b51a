"""How a restore is wanted, as a file that a person corrects: the source, the damage, and whatever else is to be said.

A dry run writes it from its plan. Each damage has `take`: whether it is taken for damage. It holds names, transactions
and what a migration's text says; never a value of a row. It is readable by its owner alone all the same.
"""

import json
import os
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from toolkit.errors import UsageError
from toolkit.incident import Incident
from toolkit.rollback.damage import Damage, Proposal
from toolkit.rollback.plan import NEWEST, Plan, RestoreWish, SwapIn, Way

SUFFIX = ".json"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Line(_Strict):
    """A damage with its evidence. Fields as in `Damage`."""

    take: bool
    table: str
    columns: tuple[str, ...] = ()
    condition: str | None = None
    xids: tuple[str, ...] = ()
    verb: Literal["overwritten", "deleted", "inserted"] = "overwritten"
    written: dict[str, str] = {}
    rows: int | None = None
    evidence: tuple[str, ...] = ()

    @property
    def damage(self) -> Damage:
        written = tuple(self.written.items())
        return Damage(self.table, self.columns, self.condition, self.xids, self.verb, written)


class RestoreFile(_Strict):
    """What stands in one. Fields as in `RestoreWish`."""

    source: str = NEWEST
    damaged_at: AwareDatetime | None = None
    way: Way | None = None
    freeze: bool = False
    wanted_version: int | None = None
    damage: tuple[_Line, ...]

    def wish(self, path: Path) -> RestoreWish:
        """As a planner takes it."""
        return RestoreWish(
            damage=tuple(each.damage for each in self.damage if each.take),
            damaged_at=self.damaged_at,
            way=self.way,
            freeze=self.freeze,
            wanted_version=self.wanted_version,
            file=str(path.resolve()),
        )


def is_restore_file(name: str) -> bool:
    """Whether what was named as a backup is such a file instead."""
    return name.endswith(SUFFIX) and Path(name).is_file()


def read_restore_file(path: Path) -> RestoreFile:
    """Raises UsageError for a file that is not there or not of this form, and names what is wrong in it."""
    try:
        return RestoreFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"There is no file {path}", state="nothing was done", next="write it by a dry run: --damage FILE"
        ) from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in error.errors())
        raise UsageError(
            f"{path} does not say how to restore: {wrong}", state="nothing was done", next="correct it"
        ) from None


def write_restore_file(path: Path, plan: Plan) -> None:
    """What a plan would restore and what it takes for damage, or not, to be corrected. UsageError where one stands."""
    wish = plan.wish.restore if plan.wish else RestoreWish()
    taken = next((step.action.damage for step in plan.steps if isinstance(step.action, SwapIn)), ())
    told = {each.damage: each for each in plan.proposed}
    lines = [_line(told.get(each) or Proposal(each, (), None, True), take=True) for each in taken]
    lines += [_line(each, take=False) for each in plan.proposed if each.damage not in taken]
    made = RestoreFile(
        source=plan.restores.source if plan.restores else NEWEST,
        damaged_at=wish.damaged_at,
        way=wish.way,
        freeze=wish.freeze,
        wanted_version=wish.wanted_version,
        damage=tuple(lines),
    )
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(made.model_dump(mode="json"), indent=2) + "\n")
    except FileExistsError:
        raise UsageError(f"{path} stands there already", next="name another, or give it as it is") from None


def damage_to_confirm(plan: Plan, incident: Incident) -> str:
    """Write a restore's file into the incident's folder, once for each plan, and say in a sentence what it is for; ''
    for a plan that restores nothing."""
    if plan.restores is None:
        return ""
    path = incident.folder / f"restore-{plan.id}{SUFFIX}"
    if not path.exists():
        write_restore_file(path, plan)
    return (
        f"What is taken for damage, and what only looks like it, stands in {path.resolve()}. To take another: correct "
        "it, and name it instead of the backup."
    )


def _line(proposal: Proposal, *, take: bool) -> _Line:
    damage = proposal.damage
    return _Line.model_validate(
        {
            "take": take,
            "table": damage.table,
            "columns": damage.columns,
            "condition": damage.condition,
            "xids": damage.xids,
            "verb": damage.verb,
            "written": dict(damage.written),
            "rows": proposal.rows,
            "evidence": proposal.evidence,
        }
    )
