"""The lists as data: each item with its id, its text from the playbook, whether it blocks, and what answers it."""

import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolkit.checklist.facts import FACTS
from toolkit.errors import UsageError
from toolkit.playbook import Playbook

_CONFIG = ConfigDict(extra="forbid", frozen=True)


class Item(BaseModel):
    """One line of a list.

    It is answered by a `fact`, by the `checks` (patterns of names) or `areas` of the latest verification, with another
    item (`same_as`), or, without any of these, by a person. `due_hours` count from the resolution.
    """

    model_config = _CONFIG

    id: Annotated[str, Field(pattern=r"^[a-z][a-z-]*\.[a-z][a-z-]*$")]
    text: Annotated[str, Field(min_length=1)]
    blocks: bool = False
    fact: str = ""
    checks: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    same_as: str = ""
    due_hours: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _known_fact(self) -> Self:
        if self.fact and self.fact not in FACTS:
            raise ValueError(f"there is no fact {self.fact!r}; use one of {', '.join(FACTS)}")
        return self


class Group(BaseModel):
    model_config = _CONFIG

    title: str = ""
    items: Annotated[tuple[Item, ...], Field(min_length=1)]


class Checklist(BaseModel):
    """One list, its items in groups."""

    model_config = _CONFIG

    name: Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")]
    title: str
    group: Annotated[tuple[Group, ...], Field(min_length=1)]

    def items(self) -> Iterator[tuple[str, Item]]:
        """Each item with its group's title."""
        for group in self.group:
            for item in group.items:
                yield group.title, item


class Checklists(BaseModel):
    """All lists, in the order of the playbook."""

    model_config = _CONFIG

    checklist: Annotated[tuple[Checklist, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        ids = [item.id for item in self.items()]
        if twice := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"{', '.join(twice)} is there twice")
        if lost := [item.same_as for item in self.items() if item.same_as and item.same_as not in ids]:
            raise ValueError(f"same_as names {', '.join(lost)}, which is no item")
        return self

    def items(self) -> Iterator[Item]:
        for checklist in self.checklist:
            for _, item in checklist.items():
                yield item

    def named(self, name: str) -> Checklist:
        """UsageError when there is none of that name."""
        found = next((each for each in self.checklist if each.name == name), None)
        if found is None:
            known = ", ".join(each.name for each in self.checklist)
            raise UsageError(f"There is no checklist {name!r}", next=f"use one of {known}")
        return found

    def item(self, id: str) -> Item:
        """The item that is answered under this id: the one that it is the same as, where it says so.

        UsageError when there is none.
        """
        found: Mapping[str, Item] = {item.id: item for item in self.items()}
        if id not in found:
            raise UsageError(f"There is no item {id!r} in the checklists", next="look with toolkit checklist list")
        return self.item(found[id].same_as) if found[id].same_as else found[id]


def load_checklists(playbook: Playbook) -> Checklists:
    """The packaged lists, or those of the file that the playbook names. UsageError when they are no lists."""
    own = playbook.checklists.file
    file = playbook.folder / own if own else resources.files("toolkit.checklist").joinpath("checklists.toml")
    try:
        return Checklists.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", next="mend it, then repeat the command") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UsageError(f"{file} holds no checklists: {wrong}", next="mend it, then repeat the command") from None
