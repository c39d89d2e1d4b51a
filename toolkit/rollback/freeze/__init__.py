"""Stop writes, prove it, give them back by stages. What counts is the database; the service's own flags are slow.

No flag of the platform is set beside it. A changed variable reaches only what is built after it: that is a deployment
that no plan knows, in whose way the plan's own step would stand, and a rollback of the application undoes it. What the
service shows its users is that the database refuses writes (SQLSTATE 42501), from the moment on in which it does.
"""

from toolkit.rollback.freeze.holding import reapply, tighten, writable
from toolkit.rollback.freeze.proof import came_since, is_proof, prove, proved
from toolkit.rollback.freeze.record import TABLES, Frozen, freeze_of, frozen, frozen_in, state_of_writes
from toolkit.rollback.freeze.releasing import Released, look_released, release_writes
from toolkit.rollback.freeze.scope import Scope, scope_of
from toolkit.rollback.freeze.stages import STAGES, Stages, stages_of
from toolkit.rollback.freeze.stopping import Means, Stopped, freeze_writes

__all__ = [
    "STAGES",
    "TABLES",
    "Frozen",
    "Means",
    "Released",
    "Scope",
    "Stages",
    "Stopped",
    "came_since",
    "freeze_of",
    "freeze_writes",
    "frozen",
    "frozen_in",
    "is_proof",
    "look_released",
    "prove",
    "proved",
    "reapply",
    "release_writes",
    "scope_of",
    "stages_of",
    "state_of_writes",
    "tighten",
    "writable",
]
