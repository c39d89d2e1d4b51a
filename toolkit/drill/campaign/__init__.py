"""Many drills, side by side, as one campaign that can be interrupted and gone on with.

    plan       which drills there are, where each lies, and which are done
    player     plays one drill in a process of its own
    running    plays all that are left: on this machine, or on a Dask cluster
    dataset    their results as Parquet: a row a drill, a row a step

The drills' own folders are the truth; all else is made from them anew.
"""

from toolkit.drill.campaign.dataset import write_dataset
from toolkit.drill.campaign.plan import Campaign, Planned, chosen_scenarios
from toolkit.drill.campaign.running import Progress, run_campaign

__all__ = ["Campaign", "Planned", "Progress", "chosen_scenarios", "run_campaign", "write_dataset"]
