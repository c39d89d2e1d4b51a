"""Can so many be chance? Pure. In a small window a few failures are a large share, and tell nothing."""

import math

CHANCE = 1e-5  # with a poll every 15 seconds, twice in a row: not once in a year


def beyond_chance(count: int, of: int, ordinary: float) -> bool:
    """Whether `count` or more `of` so many would be chance in less than one of 100,000 windows, where each of them has
    the `ordinary` probability (0 to 1, neither)."""
    if count <= of * ordinary:
        return False
    odds = math.log(ordinary) - math.log1p(-ordinary)
    term = (
        math.lgamma(of + 1)
        - math.lgamma(count + 1)
        - math.lgamma(of - count + 1)
        + count * math.log(ordinary)
        + (of - count) * math.log1p(-ordinary)
    )
    likely = 0.0
    for number in range(count, of + 1):
        likely += math.exp(term)
        if likely >= CHANCE or term < math.log(CHANCE) - 40:
            break
        term += math.log(of - number) - math.log(number + 1) + odds if number < of else 0.0
    return likely < CHANCE
