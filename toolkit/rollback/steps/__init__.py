"""How each action of a plan is done: one module for each, all of one form (`Doing`), chosen here and nowhere else."""

from toolkit.rollback.plan import (
    BackUp,
    EndSessions,
    FreezeWrites,
    Mend,
    MigrateUp,
    PointProduction,
    RecoverByPlatform,
    ReleaseEffects,
    ReleaseWrites,
    RestoreBeside,
    RunDown,
    Step,
    SwapIn,
    VerifyFrozen,
)
from toolkit.rollback.steps.back_up import BackingUp
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings
from toolkit.rollback.steps.end_sessions import EndingSessions
from toolkit.rollback.steps.freeze_writes import FreezingWrites, ReleasingWrites
from toolkit.rollback.steps.mend import Mending
from toolkit.rollback.steps.migrate_up import MigratingUp
from toolkit.rollback.steps.point_production import PointingProduction
from toolkit.rollback.steps.recover_by_platform import RecoveringByPlatform
from toolkit.rollback.steps.release_effects import ReleasingEffects
from toolkit.rollback.steps.restore_beside import RestoringBeside
from toolkit.rollback.steps.run_down import RunningDown
from toolkit.rollback.steps.swap_in import SwappingIn
from toolkit.rollback.steps.verify_frozen import VerifyingFrozen

__all__ = ["Doing", "Standing", "Surroundings", "doing_of"]


def doing_of(step: Step, around: Surroundings) -> Doing:
    """The doing of a step's action."""
    match step.action:
        case RunDown() as down:
            return RunningDown(down, around)
        case PointProduction() as point:
            return PointingProduction(point, around)
        case Mend() as mend:
            return Mending(mend, around)
        case MigrateUp() as up:
            return MigratingUp(up, around)
        case BackUp() as back_up:
            return BackingUp(back_up, around)
        case FreezeWrites() as freeze:
            return FreezingWrites(freeze, around)
        case VerifyFrozen() as look:
            return VerifyingFrozen(look, around)
        case ReleaseWrites() as release:
            return ReleasingWrites(release, around)
        case EndSessions() as end:
            return EndingSessions(end, around)
        case RestoreBeside() as restore:
            return RestoringBeside(restore, around)
        case RecoverByPlatform() as recover:
            return RecoveringByPlatform(recover, around)
        case SwapIn() as swap:
            return SwappingIn(swap, around)
        case ReleaseEffects() as effects:
            return ReleasingEffects(effects, around)
