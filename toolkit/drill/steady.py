"""What is normal in a sandbox, measured before anything breaks and recorded as production's last verification is.

Without it nobody could say what to go back to: the last stable version is what was recorded, never a constant.
"""

from collections.abc import Mapping
from typing import Any

from toolkit.adapters.systems import connect
from toolkit.drill.state import SandboxState
from toolkit.playbook import load_playbook
from toolkit.verify import measure_baseline

TARGET = "sandbox"


def record_steady_state(state: SandboxState, window_s: float) -> Mapping[str, Any]:
    """Watch the traffic for `window_s` seconds and record a stable point on the sandbox's database.

    Returns the figures: window_s, requests, failed, error_rate, p50_ms, p95_ms, rate_per_s. Raises PlatformError and
    DatabaseError: half a baseline is none.
    """
    book = load_playbook()
    systems = connect(book, book.target(TARGET, state.environment()))
    systems.database.prepare()
    baseline = measure_baseline(systems, window_s)
    systems.database.record_stable(int(baseline["migration_version"]), str(baseline["deployment"]), baseline)
    figures: Mapping[str, Any] = baseline["steady_state"]
    return figures
