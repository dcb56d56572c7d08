"""bssplit: sizes with whole percents, at most 64 of them, that have the bytes of the profile."""

from __future__ import annotations

import math
from typing import Dict, List, Mapping, Optional, Tuple, TypeVar

from iotrace.fio.draws import Split
from iotrace.fio.sizes import LARGEST, Sizes
from iotrace.profile.values import bucket

Of = TypeVar("Of", int, str)

_RARE = 0.0075  # of all calls: less would be drawn too often as a percent
_OFTEN = 0.04  # of all calls: a size of its own, where there are many
_MOST = 6  # sizes, or those that are rare are put together; fio has room for 64 (BSSPLIT_MAX)


def split_of(found: Sizes) -> Split:
    """The shares of sizes in percent; each that there is has one at least. Raises ValueError if there are none."""
    found = {min(size, LARGEST): count for size, count in found.items() if size and count}
    if not found:
        raise ValueError("no sizes")
    total = sum(found.values())
    if len(found) > _MOST:
        often = {size: count for size, count in found.items() if count >= _OFTEN * total}
        found = {size: count for size, count in found.items() if size not in often}
        for size, count in _merged(found).items():
            often[size] = often.get(size, 0) + count
        found = often
    found = _without_rare(found, total)
    total = sum(found.values())
    simple = _simple(found, total)
    if simple is not None:
        return _ordered(simple)
    exact = {size: 100 * count / total for size, count in found.items()}
    percents = {size: max(int(share), 1) for size, share in exact.items()}
    # Largest remainder; what got its first percent for less gives nothing back.
    while sum(percents.values()) != 100:
        over = sum(percents.values()) > 100
        off = {size: percents[size] - exact[size] for size in percents if not over or percents[size] > 1}
        chosen = max(off, key=lambda size: (off[size], size)) if over else min(off, key=lambda size: (off[size], size))
        percents[chosen] += -1 if over else 1
    return _ordered(percents)


def _without_rare(found: Sizes, total: int) -> Sizes:
    """With sizes together that are less than a percent each, so that they are not drawn too often: one percent of them
    has the bytes that they had."""
    rare = {size: count for size, count in found.items() if count < _RARE * total}
    if not rare:
        return found
    left = {size: count for size, count in found.items() if size not in rare}
    for size, count in _clusters(rare, total):
        left[size] = left.get(size, 0) + count
    return left


def _clusters(rare: Sizes, total: int) -> List[Tuple[int, int]]:
    """Sizes next to each other as one, as often as makes a percent; the last ones, if they are fewer, as one percent
    of smaller ones with the same bytes."""
    clusters: List[Tuple[int, int]] = []
    count = amount = 0
    for size, number in sorted(rare.items()):
        count, amount = count + number, amount + size * number
        if count >= _RARE * total:
            clusters.append((max(amount // count, 1), count))
            count = amount = 0
    if count:
        percent = max(total // 100, count)
        clusters.append((max(amount // percent, 1), percent))
    return clusters


def _simple(found: Sizes, total: int) -> Optional[Sizes]:
    """Shares that are multiples of five, add up to 100, and differ from those that were found by chance alone."""
    shares = {size: 100 * count / total for size, count in found.items()}
    percents = {size: 5 * round(share / 5) for size, share in shares.items()}
    while sum(percents.values()) != 100:
        step = 5 if sum(percents.values()) < 100 else -5
        nearest = min(percents, key=lambda size: (abs(percents[size] + step - shares[size]), size))
        percents[nearest] += step
    chances = {size: _chance(count / total, total) for size, count in found.items()}
    fits = all(percents[size] > 0 and abs(percents[size] - shares[size]) <= chances[size] for size in shares)
    return percents if fits else None


def _chance(share: float, draws: int) -> float:
    """Three standard deviations of how often something is drawn, in percent."""
    return 300 * math.sqrt(share * (1 - share) / max(draws, 1))


def simplest(share: float, draws: int) -> int:
    """A share (0 to 1) in percent: a multiple of five if no more than chance lies between, among so many draws.

    Somebody who asks for 70% gets 69.2% of a thousand; the seed makes up for it. From 1 to 99, or 100 of all.
    """
    if share >= 1:
        return 100
    percent = 100 * share
    near = 5 * round(percent / 5)
    return near if 0 < near < 100 and abs(percent - near) <= _chance(share, draws) else min(max(round(percent), 1), 99)


def _ordered(percents: Sizes) -> Split:
    return Split(sorted(percents.items(), key=lambda part: (-part[1], part[0])))


def _merged(found: Sizes) -> Sizes:
    """One size for each power of two."""
    totals: Dict[int, Tuple[int, int]] = {}
    for size, count in found.items():
        lower = bucket(size)
        before = totals.get(lower, (0, 0))
        totals[lower] = (before[0] + count, before[1] + size * count)
    return {amount // count: count for count, amount in totals.values()}


def mean(split: Split) -> float:
    """Bytes of an I/O."""
    return sum(size * share for size, share in split.parts) / 100


def bounds(split: Split) -> Tuple[int, int]:
    """The least and the largest size."""
    every = [size for size, _ in split.parts]
    return min(every), max(every)


def aligned(split: Split) -> bool:
    """Whether all are multiples of the least: fio rounds them down to that otherwise."""
    least, _ = bounds(split)
    return all(size % least == 0 for size, _ in split.parts)


def written(split: Split) -> str:
    """As the value of bssplit, or of bs where there is one size."""
    if len(split.parts) == 1:
        return quantity(split.parts[0][0])
    return ":".join(f"{quantity(size)}/{share}" for size, share in split.parts)


def quantity(number: int) -> str:
    """Bytes as fio reads them: 4k, 16m, 100. Units are powers of 1,024 (kb_base)."""
    for shift, unit in ((30, "g"), (20, "m"), (10, "k")):
        if number and number % (1 << shift) == 0:
            return f"{number >> shift}{unit}"
    return str(number)


def listed(found: Mapping[Of, int], most: Optional[int] = None) -> List[Tuple[Of, int]]:
    """Sizes, or names, with their counts: the most frequent first, at most so many."""
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))[:most]
