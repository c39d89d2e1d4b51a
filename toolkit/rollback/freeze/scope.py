"""What a freeze covers: which schemas, as whom the application writes, who is exempt. A value, from the playbook."""

from dataclasses import dataclass, field

from toolkit.playbook import Playbook
from toolkit.rollback.freeze.stages import Stages, stages_of


@dataclass(frozen=True)
class Scope:
    """`application_roles` () : those that have grants. `exempt_roles` keep their privileges."""

    schemas: tuple[str, ...]
    application_roles: tuple[str, ...] = ()
    exempt_roles: tuple[str, ...] = ()
    stages: Stages = field(default_factory=Stages)


def scope_of(playbook: Playbook) -> Scope:
    """The playbook's."""
    names = playbook.database
    return Scope(names.schemas, names.application_roles, names.freeze_exempt_roles, stages_of(playbook))
