"""Going back: what there is to go back to, a plan that is shown first, a backup, and the one runner that has effects.

migrations, state_tables    what the migration tool's folder and the live database say
sql_lexer, down_sql         what a down's text tells: what it destroys, what must not be in it
migration, application      planners, pure: from a situation to a plan
planning                    collects the situation and asks a planner
backup                      before anything is changed
recovered, aftermath        did it help, and how did it leave the database?
runner, steps               carry a plan out, step by step, so that it can be repeated

Planners know nothing of the runner, and the runner knows no planner: a plan is all that passes between them.
"""

from toolkit.rollback.aftermath import aftermath
from toolkit.rollback.planning import rollback_plan
from toolkit.rollback.recovered import recovery
from toolkit.rollback.runner import RunResult, carry_out

__all__ = ["RunResult", "aftermath", "carry_out", "recovery", "rollback_plan"]
