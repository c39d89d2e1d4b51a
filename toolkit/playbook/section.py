"""What every section of the playbook is: typed, frozen, without a key that nobody knows. And the words they share."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]
Minutes = Annotated[float, Field(ge=0)]
VariableName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class Severity(StrEnum):
    """The playbook's four. P0 is the worst."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"

    def worse_than(self, other: "Severity") -> bool:
        return self.value < other.value


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, defer_build=True
    )  # built at first use: a command starts at once
