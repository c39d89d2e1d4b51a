"""When did requests begin to fail, and when did they stop? A scan that answers with a moment, an interval, and why.

The scan statistic is Kulldorff's for the Bernoulli model (M. Kulldorff, 'A spatial scan statistic', Communications in
Statistics: Theory and Methods 26, 1997, 1481-1496), in one dimension, over stretches of consecutive requests. With C of
N requests failed, and c of the n inside a stretch, its log-likelihood ratio is

    c ln(c/n) + (n-c) ln(1-c/n) + (C-c) ln((C-c)/(N-n)) + (N-n-C+c) ln(1-(C-c)/(N-n)) - C ln(C/N) - (N-C) ln(1-C/N)

where the inside fails more often than the outside, else 0. A stretch counts when its ratio exceeds ln(M / ALPHA), M
being the number of stretches there are: Chernoff's bound, summed over all of them. The interval of a moment holds every
place for it whose ratio is less than DROP below the best (D. Siegmund, 'Confidence sets in change-point problems',
International Statistical Review 56, 1988, 31-48).

It takes failures as independent. Short bursts in an otherwise quiet service are therefore reported too, as stretches of
their own. It knows nothing of incidents; it never guesses a moment that the requests do not carry.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.01
DROP = 3.0
GRID = 400
MIN_FAILED = 4
SAME_STRETCH = 0.01  # a pause less likely than this, had failures gone on, begins or ends a stretch

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
Figures = NDArray[np.float64]


class Found(StrEnum):
    CHANGE = "change"
    NO_CHANGE = "no change"
    UNDETECTABLE = "undetectable"


@dataclass(frozen=True)
class Turn:
    """A moment between two requests, by their places in the series (from 0).

    `at` is the first request of what comes next. The turn lies after `after` and not later than `until`: about 95 %.
    """

    at: int
    after: int
    until: int


@dataclass(frozen=True)
class Stretch:
    """Consecutive requests, `begin` to `end` (exclusive), that failed more often than the rest.

    `onset` or `recovery` is None where the series does not show it; `unclear` says why.
    """

    begin: int
    end: int
    requests: int
    failed: int
    ratio: float
    onset: Turn | None
    recovery: Turn | None
    unclear: tuple[str, ...]

    @property
    def rate(self) -> float:
        return self.failed / self.requests


@dataclass(frozen=True)
class Scan:
    """What the scan found. `main` is the stretch with the most failed requests; `others` are in order of time."""

    found: Found
    why: str
    requests: int
    failed: int
    wanted_ratio: float
    rate_elsewhere: float | None = None
    main: Stretch | None = None
    others: tuple[Stretch, ...] = ()


@dataclass(frozen=True)
class _Piece:
    """The best stretch [a, b) within the window [low, high), with its ratio there."""

    low: int
    a: int
    b: int
    high: int
    ratio: float


def scan(failed: Flags) -> Scan:
    """Look for stretches of raised error rate in requests that are ordered by time. `failed` is one flag a request."""
    requests, failures = len(failed), int(failed.sum())
    wanted = math.log(max(requests * (requests + 1) / 2, 1) / ALPHA)

    def without(found: Found, why: str) -> Scan:
        return Scan(found, why, requests, failures, wanted)

    if requests * math.log(2) <= wanted:
        return without(Found.UNDETECTABLE, f"{requests} requests are too few to tell a change from chance")
    if not failures:
        return without(Found.NO_CHANGE, f"none of {requests:,} requests failed")
    if failures == requests:
        return without(Found.UNDETECTABLE, f"all {requests:,} requests failed: the evidence holds no normal time")
    sums = np.concatenate(([0], np.cumsum(failed))).astype(np.int64)
    pieces = _pieces(sums, 0, requests, wanted)
    if not pieces:
        share = f"{failures:,} of {requests:,} requests failed ({failures / requests:.2%})"
        return without(Found.NO_CHANGE, f"{share}, and at no time more of them than chance explains")
    stretches = [_stretch(sums, group) for group in _joined(sums, sorted(pieces, key=lambda piece: piece.a))]
    main = max(stretches, key=lambda stretch: stretch.failed)
    elsewhere = requests - sum(s.requests for s in stretches)
    rate = (failures - sum(s.failed for s in stretches)) / elsewhere if elsewhere else None
    why = f"{main.failed:,} of {main.requests:,} consecutive requests failed ({main.rate:.1%})"
    others = tuple(stretch for stretch in stretches if stretch is not main)
    return Scan(Found.CHANGE, why, requests, failures, wanted, rate, main, others)


def likelihood_ratio(inside_failed: Counts, inside: Counts, failed: int | Counts, requests: int | Counts) -> Figures:
    """The log-likelihood ratio of the module's docstring, for arrays of stretches; 0 where the inside is no worse."""
    outside_failed, outside = failed - inside_failed, requests - inside
    ratio: Figures = (
        _log_likelihood(inside_failed, inside)
        + _log_likelihood(outside_failed, outside)
        - _log_likelihood(np.asarray(failed), np.asarray(requests))
    )
    worse = inside_failed * outside > outside_failed * inside
    return np.where(worse, ratio, 0.0)


def _log_likelihood(failed: NDArray[np.int64], requests: NDArray[np.int64]) -> Figures:
    """k ln(k/n) + (n-k) ln(1-k/n), with 0 ln 0 = 0."""
    passed = requests - failed
    total = np.maximum(requests, 1)
    share, rest = np.maximum(failed, 1) / total, np.maximum(passed, 1) / total
    result: Figures = failed * np.log(share) + passed * np.log(rest)
    return result


def _pieces(sums: Counts, low: int, high: int, wanted: float) -> list[_Piece]:
    """The best stretch within [low, high), and those in what remains before and after it."""
    piece = _best(sums, low, high)
    if piece is None or piece.ratio < wanted or sums[piece.b] - sums[piece.a] < MIN_FAILED:
        return []
    return [*_pieces(sums, low, piece.a, wanted), piece, *_pieces(sums, piece.b, high, wanted)]


def _best(sums: Counts, low: int, high: int) -> _Piece | None:
    """Search on a grid, then move either end to its best place until neither moves."""
    if high - low < 2 or sums[high] == sums[low]:
        return None
    edges = np.unique(np.linspace(low, high, min(high - low, GRID) + 1).astype(np.int64))
    counts = sums[edges]
    inside, inside_failed = edges[None, :] - edges[:, None], counts[None, :] - counts[:, None]
    ordered = np.triu(np.ones_like(inside, dtype=bool), k=1)
    ratios = np.full(inside.shape, -1.0)
    ratios[ordered] = likelihood_ratio(inside_failed[ordered], inside[ordered], int(sums[high] - sums[low]), high - low)
    first, last = np.unravel_index(int(ratios.argmax()), ratios.shape)
    a, b, before = int(edges[first]), int(edges[last]), (-1, -1)
    while (a, b) != before:
        before = a, b
        a = low + int(_profile_of_begin(sums, _Piece(low, a, b, high, 0)).argmax())
        b = a + 1 + int(_profile_of_end(sums, _Piece(low, a, b, high, 0)).argmax())
    return _Piece(low, a, b, high, float(_profile_of_end(sums, _Piece(low, a, b, high, 0)).max()))


def _profile_of_begin(sums: Counts, piece: _Piece) -> Figures:
    """The ratio for each begin in [low, b), the end staying where it is."""
    begins = np.arange(piece.low, piece.b)
    return likelihood_ratio(sums[piece.b] - sums[begins], piece.b - begins, *_totals(sums, piece))


def _profile_of_end(sums: Counts, piece: _Piece) -> Figures:
    """The ratio for each end in (a, high], the begin staying where it is."""
    ends = np.arange(piece.a + 1, piece.high + 1)
    return likelihood_ratio(sums[ends] - sums[piece.a], ends - piece.a, *_totals(sums, piece))


def _totals(sums: Counts, piece: _Piece) -> tuple[int, int]:
    return int(sums[piece.high] - sums[piece.low]), piece.high - piece.low


def _joined(sums: Counts, pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Pieces in order of time, those together between which failures may well have gone on."""
    groups = [[pieces[0]]]
    for piece in pieces[1:]:
        before = groups[-1][-1]
        rate = min(_rate(sums, before.a, before.b), _rate(sums, piece.a, piece.b))
        if _may_have_gone_on(int(sums[piece.a] - sums[before.b]), piece.a - before.b, rate):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def _rate(sums: Counts, a: int, b: int) -> float:
    return float(sums[b] - sums[a]) / (b - a)


def _may_have_gone_on(failed: int, requests: int, rate: float) -> bool:
    """Whether so few failures are likely enough at this rate (Chernoff's bound)."""
    if not requests or failed >= rate * requests:
        return True
    share = failed / requests
    passed = (1 - share) * math.log((1 - share) / (1 - rate)) if rate < 1 else math.inf
    return math.exp(-requests * ((share * math.log(share / rate) if share else 0.0) + passed)) >= SAME_STRETCH


def _stretch(sums: Counts, group: Sequence[_Piece]) -> Stretch:
    first, last = group[0], group[-1]
    onset, late = _onset(sums, first)
    recovery, open_ended = _recovery(sums, last)
    unclear = tuple(reason for reason in (late, open_ended) if reason)
    begin, end = first.a, last.b
    failed = int(sums[end] - sums[begin])
    return Stretch(begin, end, end - begin, failed, max(piece.ratio for piece in group), onset, recovery, unclear)


def _onset(sums: Counts, piece: _Piece) -> tuple[Turn | None, str | None]:
    """Where it began, unless requests may have failed from the first one on."""
    profile = _profile_of_begin(sums, piece)
    if piece.low == 0 and profile[0] >= piece.ratio + math.log(SAME_STRETCH):
        return None, f"onset undetectable: only {piece.a} requests come before it, too few to tell that it was new"
    likely = piece.low + np.flatnonzero(profile >= piece.ratio - DROP)
    return Turn(piece.a, int(likely[0]) - 1, int(likely[-1])), None


def _recovery(sums: Counts, piece: _Piece) -> tuple[Turn | None, str | None]:
    """Where it ended, unless requests may have failed up to the last one."""
    profile = _profile_of_end(sums, piece)
    requests = len(sums) - 1
    if piece.high == requests and profile[-1] >= piece.ratio + math.log(SAME_STRETCH):
        return None, f"recovery undetectable: only {requests - piece.b} requests come after the last failures"
    likely = piece.a + 1 + np.flatnonzero(profile >= piece.ratio - DROP)
    return Turn(piece.b, int(likely[0]) - 1, int(likely[-1])), None
