"""Signals of the data, of the server behind it, and of what we did: what database and journal tell. Pure.

Each is a function of what was seen and the limits; None as its verdict where it was not told.
"""

from toolkit.adapters.value_shares import shift
from toolkit.detect.seen import NOT_SEEN, Limits, Observation, Reading

BLOCKED_TOO_LONG_S = 5.0
ORPHANS, ORPHAN_SHARE = 3, 0.005  # fewer may be a parent that is about to come
FEW_ROWS, EMPTIED_BELOW = 20, 0.5  # a clean-up deletes, but never half of a table that has this many
LEAST_FIGURE = 20.0  # a figure below it jumps by itself
OUT_OF_ROOM = "53100"


def queue(seen: Observation, limits: Limits) -> Reading:
    queue = seen.database.queue if seen.database else None
    if queue is None:
        return NOT_SEEN
    waits_s = queue.oldest_ready_s or 0.0
    breached = queue.failed > limits.queue_failed_jobs or queue.stuck > 0 or waits_s > limits.queue_waits_s
    evidence = f"{queue.failed} jobs failed, {queue.stuck} are stuck" + (
        f", one that could run waits for {waits_s:.0f} s (allowed here: {limits.queue_waits_s:g} s)" if waits_s else ""
    )
    return Reading(breached, float(queue.failed), limits.queue_failed_jobs, evidence)


def connections(seen: Observation, limits: Limits) -> Reading:
    now = seen.database.activity if seen.database else None
    if now is None:
        return NOT_SEEN
    breached = now.active > limits.active_connections or now.longest_blocked_s > BLOCKED_TOO_LONG_S
    evidence = f"{now.active} sessions are active, {now.blocked} blocked for up to {now.longest_blocked_s:.0f} s"
    if room := seen.database.capacity if seen.database else None:
        breached = breached or room.sessions > limits.connections_share * room.allowed
        evidence += f"; {room.sessions} of {room.allowed} possible sessions are there"
    return Reading(breached, float(now.active), limits.active_connections, evidence)


def data_integrity(seen: Observation, limits: Limits) -> Reading:
    """A watched column of which a large part has other values than it had when all was verified."""
    now, normal = seen.database.shares if seen.database else None, seen.normal_shares
    shifts = {name: shift(normal[name], now[name]) for name in now if name in normal} if now and normal else {}
    if not shifts:
        return NOT_SEEN
    worst = max(shifts, key=lambda name: shifts[name])
    evidence = f"{shifts[worst]:.0%} of the sampled values of {worst} are others than when all was verified"
    return Reading(shifts[worst] > limits.value_shift, round(shifts[worst], 3), limits.value_shift, evidence)


def orphans(seen: Observation, _limits: Limits) -> Reading:
    """Rows whose parent is not there, in a sample."""
    found = seen.data.orphans if seen.data else {}
    asked = {name: each for name, each in found.items() if each.sampled}
    if not asked:
        return NOT_SEEN
    worst = max(asked, key=lambda name: asked[name].orphaned / asked[name].sampled)
    now = asked[worst]
    share = now.orphaned / now.sampled
    evidence = f"{now.orphaned} of {now.sampled} sampled values of {worst} point to nothing"
    return Reading(now.orphaned >= ORPHANS and share >= ORPHAN_SHARE, round(share, 4), ORPHAN_SHARE, evidence)


def rows_lost(seen: Observation, _limits: Limits) -> Reading:
    """A critical table that lost half of its rows, against what was counted when all was verified."""
    now, before = (seen.data.rows if seen.data else {}), seen.normal_rows or {}
    known = {name: now[name] for name in now if before.get(name, 0) >= FEW_ROWS and name in before}
    parts = {name: each.rows / before[name] for name, each in known.items()}
    lost = {name: part for name, part in parts.items() if part < EMPTIED_BELOW}
    if not known or (lost and not any(known[name].sure for name in lost)):
        return NOT_SEEN
    worst = min((name for name in lost if known[name].sure), key=lambda name: parts[name], default=None)
    if worst is None:
        return Reading(False, round(min(parts.values()), 3), EMPTIED_BELOW, "every critical table has its rows")
    evidence = f"{worst} has {known[worst].rows:,} rows, {before[worst]:,} when all was verified"
    return Reading(True, round(parts[worst], 3), EMPTIED_BELOW, evidence)


def kpi_jump(seen: Observation, limits: Limits) -> Reading:
    """A figure that users see and that is suddenly another."""
    if seen.jumps is None:
        return NOT_SEEN
    told = [each for each in seen.jumps if max(abs(each.now), abs(each.before)) >= LEAST_FIGURE and each.before]
    worst = max(told, key=lambda each: each.share, default=None)
    if worst is None:
        return NOT_SEEN
    evidence = f"{worst.name} is {worst.now:g}, and was {worst.before:g}"
    return Reading(worst.share > limits.kpi_jump, round(worst.share, 3), limits.kpi_jump, evidence)


def storage(seen: Observation, limits: Limits) -> Reading:
    """What the server tells of room: requests that it refused for want of it, WAL that piles up, a replica behind."""
    room = seen.database.capacity if seen.database else None
    errors = seen.traffic.errors if seen.traffic else ()
    refused = sum(count for error, count in errors if error.sqlstate == OUT_OF_ROOM)
    if room is None and not refused:
        return NOT_SEEN
    found = [f"{refused} requests were refused for want of disk space"] if refused else []
    if room and room.archiver_fails:
        found.append("WAL cannot be archived, and piles up")
    if room and room.slots_lost:
        found.append(f"{room.slots_lost} replication slots are about to lose WAL, or have lost it")
    if room and (room.lag_s or 0) > limits.replication_lag_s:
        found.append(f"a replica is {room.lag_s:.0f} s behind")
    return Reading(bool(found), float(len(found)), 0, "; ".join(found) or "nothing is told to be short")


def rollback_failure(seen: Observation, _limits: Limits) -> Reading:
    return _outcome(seen.outcomes.rollback, "the last rollback was carried out")


def validation_failure(seen: Observation, _limits: Limits) -> Reading:
    return _outcome(seen.outcomes.validation, "the last verification passed")


def _outcome(told: str | None, well: str) -> Reading:
    if told is None:
        return NOT_SEEN
    return Reading(bool(told), float(bool(told)), 0, told or well)
