"""Statistics for few figures: medians with intervals, and pairs. No mean, no trend line, and nothing said of too few.

With n figures the median lies between the least and the largest with a chance of 1 - 2 / 2^n (order statistics); n
pairs that all point one way come about by chance with 2 / 2^n (the sign test). Both are within 5 % from six on, so
below six nothing is told but the figures themselves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

ALPHA = 0.05
LEAST = 6  # the smallest n with 2 / 2**n <= ALPHA
RESAMPLES = 4_000


@dataclass(frozen=True)
class Middle:
    """The median of n figures and its 95 % interval by bootstrap (percentiles); None for an interval of too few."""

    n: int
    median: float | None
    low: float | None = None
    high: float | None = None

    @property
    def needed(self) -> int:
        """How many more it takes for an interval."""
        return max(0, LEAST - self.n)

    def told(self, unit: str = "s") -> str:
        """`31.2 s (28.9 to 33.0, 95 %)`, or that there are too few."""
        if self.median is None:
            return "none"
        if self.low is None or self.high is None:
            return f"{self.median:.1f} {unit}: too few to tell, {self.needed} more needed"
        return f"{self.median:.1f} {unit} ({self.low:.1f} to {self.high:.1f}, 95 %)"


def middle(values: Sequence[float]) -> Middle:
    """The median, and its interval where there are enough. The same figures give the same interval."""
    import numpy as np

    known = np.asarray([value for value in values if value is not None and not math.isnan(value)], dtype=float)
    if not len(known):
        return Middle(0, None)
    median = float(np.median(known))
    if len(known) < LEAST:
        return Middle(len(known), median)
    drawn = np.random.default_rng(0).choice(known, size=(RESAMPLES, len(known)))
    low, high = np.percentile(np.median(drawn, axis=1), [100 * ALPHA / 2, 100 * (1 - ALPHA / 2)])
    return Middle(len(known), median, float(low), float(high))


@dataclass(frozen=True)
class Paired:
    """Pairs of the same drill, before and after. `slower` and `quicker` count pairs; `change` is the median difference
    after - before; `chance` the two-sided sign test's, None without a pair that differs."""

    n: int
    slower: int
    quicker: int
    change: Middle
    chance: float | None

    @property
    def verdict(self) -> str:
        """In words; nothing is claimed where chance may explain it."""
        differing = self.slower + self.quicker
        if differing < LEAST:
            return f"too few pairs to tell, {LEAST - differing} more needed"
        if self.chance is None or self.chance > ALPHA:
            return "no difference that chance would not explain"
        return "slower" if self.slower > self.quicker else "quicker"


def paired(before: Sequence[float], after: Sequence[float]) -> Paired:
    """Compare pairs, in order; both are of one length."""
    differences = [late - early for early, late in zip(before, after, strict=True)]
    slower, quicker = sum(each > 0 for each in differences), sum(each < 0 for each in differences)
    return Paired(len(differences), slower, quicker, middle(differences), _sign_test(slower, quicker))


def _sign_test(more: int, fewer: int) -> float | None:
    """Two-sided and exact: how likely so uneven a split is when both directions are equally likely."""
    n = more + fewer
    if not n:
        return None
    tail = sum(math.comb(n, k) for k in range(min(more, fewer) + 1)) / float(2**n)
    return min(1.0, 2 * tail)
