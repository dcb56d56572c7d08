"""fio's draws, made here beforehand, to choose a seed whose draws come out as the profile says.

fio draws the size of each I/O, whether it goes on where the last one ended, and in mixed jobs its direction. Among a
few hundred draws chance is off by more than a benchmark may be. But it is the same chance every time: fio's generator
is seeded by `randseed` and by the number of the job. So a seed is looked for with which the sums are right. Where a
fio draws otherwise, any seed is as good as another, and nothing is lost.

What is done here is what fio 3.25 to 3.42 do: lib/rand.h (Tausworthe's generator of 32 bits, after L'Ecuyer), init.c
(setup_random_seeds, td_fill_rand_seeds) and io_u.c (get_next_buflen, should_do_random, get_rw_ddir).
"""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from iotrace.fio.sizes import Sizes

_MASK32, _MASK64 = (1 << 32) - 1, (1 << 64) - 1
_PRIME = 0x9E370001
_READ_SIZES, _WRITE_SIZES, _MIX, _ORDER = 0, 1, 4, 10  # FIO_RAND_..._OFF in fio.h
_DEFAULT = 0x89  # options.c: randseed's default
_TRIES, _MOST_TRIES = 64, 2000
_FEW = 40_000  # draws, for which more seeds are tried
_LONGEST = 20_000  # I/Os: among more, chance is off by little
GOOD = 0.25  # of what is allowed: no better seed is looked for


class Split(NamedTuple):
    """Sizes and their shares in percent, as in bssplit."""

    parts: Sequence[Tuple[int, int]]

    def in_order(self) -> List[Tuple[int, int]]:
        """As fio looks through them: by their shares, the least first."""
        return sorted(self.parts, key=lambda part: part[1])


class Plan(NamedTuple):
    """What fio draws for one job."""

    ios: int
    reads: Optional[int]  # percent; None where there is one direction alone
    splits: Tuple[Split, Split]  # of reads and of writes
    random: Tuple[int, int]  # percent of the reads, of the writes; 100: no draw
    writes: bool  # where there is one direction alone, which


class Drawn(NamedTuple):
    """What came out: for reads and for writes."""

    sizes: Tuple[Sizes, Sizes]
    jumps: Tuple[int, int]


class Generator:
    """fio's generator of 32 bits."""

    def __init__(self, seed: int) -> None:
        seed &= _MASK32
        # In the C source 2^31 and so on are exclusive ors: (2^31) + (2^17) + (2^7) is 53.
        self._a = self._not_below((53 * 69069 & _MASK32) ^ seed, 1)
        self._b = self._not_below((self._a * 69069 & _MASK32) ^ seed, 7)
        self._c = self._not_below((self._b * 69069 & _MASK32) ^ seed, 15)
        for _ in range(6):
            self.next()

    @staticmethod
    def _not_below(value: int, least: int) -> int:
        return value + least if value < least else value

    def next(self) -> int:
        """The next number of 32 bits."""
        a, b, c = self._a, self._b, self._c
        self._a = a = ((a & 4294967294) << 12 & _MASK32) ^ ((a << 13 & _MASK32) ^ a) >> 19
        self._b = b = ((b & 4294967288) << 4 & _MASK32) ^ ((b << 2 & _MASK32) ^ b) >> 25
        self._c = c = ((c & 4294967280) << 17 & _MASK32) ^ ((c << 3 & _MASK32) ^ c) >> 11
        return a ^ b ^ c

    def percent(self) -> int:
        """A number from 1 to 100: rand_between."""
        return 1 + int(100.0 * (self.next() / 4294967296.0))


def seed_of(randseed: int, job: int, which: int) -> int:
    """The seed of one of a job's generators: setup_random_seeds. Jobs are numbered from 1."""
    seed = randseed * pow(_PRIME, 4 + which, 1 << 64) & _MASK64
    return seed * job + which & _MASK64


def draw(plan: Plan, randseed: int, job: int) -> Drawn:
    """What fio draws for a job with that seed."""
    sizes = [Generator(seed_of(randseed, job, which)) for which in (_READ_SIZES, _WRITE_SIZES)]
    order = [Generator(seed_of(randseed, job, _ORDER)) for _ in range(2)]
    mix = Generator(seed_of(randseed, job, _MIX))
    tables = [_table(split) for split in plan.splits]
    found: Tuple[Sizes, Sizes] = ({}, {})
    jumps, issued, due, way = [0, 0], [0, 0], 0, 0
    if plan.reads is None:
        way = int(plan.writes)
    for _ in range(plan.ios):
        if plan.reads is not None and issued[way] >= due:
            drawn = int(mix.percent() > plan.reads)
            if drawn != way:
                share = (100 - plan.reads) if way == 0 else plan.reads
                due = issued[way] * share // 100
            way = drawn
        if plan.random[way] >= 100 or order[way].percent() <= plan.random[way]:
            jumps[way] += 1
        table = tables[way]
        size = table[0][0]
        if len(table) > 1:
            number = sizes[way].next()
            for size, limit in table:  # noqa: B007
                if number <= limit:
                    break
        found[way][size] = found[way].get(size, 0) + 1
        issued[way] += 1
    return Drawn(found, (jumps[0], jumps[1]))


def _table(split: Split) -> List[Tuple[int, int]]:
    """Each size with the largest number that stands for it, or for one before it: `r / perc <= frand_max / 100`."""
    table, percent = [], 0
    for size, share in split.in_order():
        percent += share
        table.append((size, (_MASK32 // 100 + 1) * percent - 1))
    return table


def choose(plan: Plan, job: int, off: Callable[[Drawn], float], budget: int) -> Tuple[Optional[int], float, int]:
    """The seed with which the draws are best: `off` says how far they are off, 1 being what is allowed.

    Also how far, and how many draws that took of the `budget`. None, where any seed will do.
    """
    draws = (max(len(split.parts) for split in plan.splits) > 1) or plan.reads is not None or min(plan.random) < 100
    if not draws or plan.ios > min(_LONGEST, budget):
        return None, 0.0, 0
    best, least, used = None, float("inf"), 0
    for seed in range(1, min(max(_FEW // plan.ios, _TRIES), _MOST_TRIES) + 1):
        if used + plan.ios > budget:
            break
        used += plan.ios
        found = off(draw(plan, seed, job))
        if found < least:
            best, least = seed, found
            if least <= GOOD:
                break
    return best, least, used
