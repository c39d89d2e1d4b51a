"""The playbook as configuration: what is normal, who, where, and how long. Another service is another `playbook.toml`.

The only reader of the environment. A playbook names environment variables and never holds a secret; a target's settings
are resolved when they are needed, and each value that is read is masked from then on in all that is written.
"""

from toolkit.playbook.document import Playbook, find_playbook, load_playbook
from toolkit.playbook.environment import database_url, pg_bindir
from toolkit.playbook.people import (
    Channels,
    Chat,
    Communication,
    Contact,
    DrillSchedule,
    EscalationLevel,
    Room,
    SeverityRule,
    Stakeholders,
)
from toolkit.playbook.section import Severity
from toolkit.playbook.service import (
    BrowserLook,
    Database,
    Endpoints,
    Figure,
    Freeze,
    ManualAction,
    Notifications,
    SyntheticEvent,
    Thresholds,
    Verification,
)
from toolkit.playbook.targets import ChannelAccess, ChannelNames, Monitoring, PlatformIds, Target, TargetNames

__all__ = [
    "BrowserLook",
    "ChannelAccess",
    "ChannelNames",
    "Channels",
    "Chat",
    "Communication",
    "Contact",
    "Database",
    "DrillSchedule",
    "Endpoints",
    "EscalationLevel",
    "Figure",
    "Freeze",
    "ManualAction",
    "Monitoring",
    "Notifications",
    "PlatformIds",
    "Playbook",
    "Room",
    "Severity",
    "SeverityRule",
    "Stakeholders",
    "SyntheticEvent",
    "Target",
    "TargetNames",
    "Thresholds",
    "Verification",
    "database_url",
    "find_playbook",
    "load_playbook",
    "pg_bindir",
]
