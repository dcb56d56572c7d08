"""fio's draws: the fio that is installed draws the same."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from typing import Dict, List, Tuple

import pytest

from iotrace.fio.draws import Drawn, Plan, Split, choose, draw
from tests import needs

COMMON = "[global]\nioengine=null\nnorandommap=1\nfilesize=100m\nio_size=1t\nbs_unaligned=1\n"
READS, WRITES = Split(((4096, 50), (16384, 30), (12, 20))), Split(((8192, 33), (12288, 33), (100, 34)))


def drawn_by_fio(place: Path, options: str) -> Tuple[List[Dict[int, int]], List[int]]:
    """The sizes of its reads and writes, and how many of each did not go on where the one before had ended."""
    (place / "job").write_text(
        f"{COMMON}[first]\nrw=read\nbs=4k\nnumber_ios=1\n[job]\n{options}write_iolog={place}/log\n"
    )
    subprocess.run(["fio", "--output=/dev/null", str(place / "job")], check=True, cwd=place)
    sizes: List[Dict[int, int]] = [Counter(), Counter()]
    jumps, ends = [0, 0], [0, 0]
    for line in (place / "log").read_text().splitlines()[1:]:
        words = line.split()
        action, offset, size = words[-3:] if len(words) > 3 else ("", "0", "0")
        if action in ("read", "write"):
            way = int(action == "write")
            sizes[way][int(size)] += 1
            jumps[way] += int(offset) != ends[way]
            ends[way] = int(offset) + int(size)
    return sizes, jumps


@needs.programs("fio")
@pytest.mark.parametrize(
    ("plan", "options"),
    [
        (
            Plan(3000, 70, (READS, WRITES), (30, 60), False),
            "rw=randrw\nrwmixread=70\npercentage_random=30,60\n"
            "bssplit=4k/50:16k/30:12/20,8k/33:12k/33:100/34\nnumber_ios=3000\nrandseed=7\n",
        ),
        (
            Plan(500, None, (WRITES, WRITES), (100, 40), True),
            "rw=randwrite\npercentage_random=40\nbssplit=8k/33:12k/33:100/34\nnumber_ios=500\nrandseed=99\n",
        ),
    ],
)
def test_fio_draws_the_same(plan: Plan, options: str, tmp_path: Path) -> None:
    sizes, jumps = drawn_by_fio(tmp_path, options)
    seed = int(options.rpartition("=")[2])
    found = draw(plan, seed, job=2)
    assert [dict(each) for each in sizes] == list(found.sizes)
    # A jump may go by chance where the run would have gone.
    assert all(abs(a - b) <= 2 for a, b in zip(jumps, found.jumps))


def test_a_seed_is_chosen_for_what_it_draws() -> None:
    plan = Plan(40, None, (READS, READS), (100, 100), False)
    fewest = min(draw(plan, seed, 1).sizes[0].get(12, 0) for seed in range(1, 1001))

    def smalls(found: Drawn) -> float:
        return found.sizes[0].get(12, 0)

    seed, least, _ = choose(plan, 1, smalls, 1 << 20)
    assert seed is not None and least == fewest < 8  # 20 of 100


def test_where_nothing_is_drawn_there_is_no_seed() -> None:
    one = Split(((4096, 100),))
    assert choose(Plan(40, None, (one, one), (100, 100), True), 1, lambda _: 1.0, 1 << 20)[0] is None
