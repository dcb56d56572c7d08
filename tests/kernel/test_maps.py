"""Every kind of map, one by one and in batches, and what bpftool makes of them."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List

import pytest

from asm import U8, U32, U64, Layout, MapSpec, MapType, field
from pybpf import maps, privileges
from pybpf.cpus import possible_cpus
from pybpf.grace import GracePeriods
from pybpf.maps import Array, HashMap, MapInMap, batches, create
from pybpf.syscalls import BpfError
from tests import needs

KEY = struct.Struct("<I")


class Record(Layout):
    """What bpftool shall show by field."""

    calls = field(U64)
    sizes = field(U32, 3)
    pad = field(U32)
    name = field(U8, 16)


def fill(target: maps.Map[Any], count: int) -> Dict[bytes, bytes]:
    content = {KEY.pack(number * 7): struct.pack("<Q", number) for number in range(count)}
    for key, value in content.items():
        target.update(key, value)
    return content


@pytest.mark.parametrize("kernel", [(4, 14), (99, 0)], ids=["one by one", "in batches"])
@pytest.mark.parametrize("kind", [MapType.HASH, MapType.LRU_HASH])
@pytest.mark.parametrize("count", [0, 1, 23, 5000])
def test_hash(as_old_as: Callable[[int, int], None], kernel: List[int], kind: MapType, count: int) -> None:
    as_old_as(*kernel)
    with create(MapSpec("numbers", kind, U32, U64, 8192)) as numbers:
        content = fill(numbers, count)
        assert dict(numbers.items()) == content
        assert len(list(numbers.items())) == count
        assert sorted(numbers.keys()) == sorted(content)
        drained = list(numbers.drain())
        assert dict(drained) == content
        assert len(drained) == count
        assert list(numbers.items()) == []


def test_hash_elements() -> None:
    with create(MapSpec("numbers", MapType.HASH, U32, U64, 2)) as numbers:
        one, two, three = (KEY.pack(number) for number in (1, 2, 3))
        assert numbers.lookup(one) is None
        assert not numbers.delete(one)
        numbers.update(one, b"11111111")
        numbers.update(two, b"22222222")
        assert numbers.lookup(one) == b"11111111"
        with pytest.raises(BpfError, match=r"map numbers.*EEXIST"):
            numbers.update(one, b"xxxxxxxx", maps.NOEXIST)
        with pytest.raises(BpfError, match="ENOENT"):
            numbers.update(three, b"xxxxxxxx", maps.EXIST)
        with pytest.raises(BpfError, match="E2BIG") as full:
            numbers.update(three, b"33333333")
        assert full.value.errno == errno.E2BIG
        assert numbers.delete(one)
        assert dict(numbers.items()) == {two: b"22222222"}
        with pytest.raises(ValueError, match="a key of 3 bytes, not 4"):
            numbers.lookup(b"abc")
        with pytest.raises(ValueError, match="a value of 1 bytes, not 8"):
            numbers.update(one, b"x")
    with pytest.raises(ValueError, match="is closed"):
        numbers.lookup(one)


def test_a_map_is_asked_for_by_its_class() -> None:
    with create(MapSpec("numbers", MapType.LRU_HASH, U32, U64, 2)) as numbers:
        assert HashMap.of(numbers) is numbers
        with pytest.raises(TypeError, match="map numbers is of class LruHash, not Array"):
            Array.of(numbers)


def test_keys_survive_deletion_under_them() -> None:
    """When the key just read is deleted the kernel starts over: every other key is still found, and found once."""
    with create(MapSpec("numbers", MapType.HASH, U32, U64, 512)) as numbers:
        content = fill(numbers, 300)
        found = []
        for key in numbers.keys():  # noqa: SIM118 - a map is no dict
            found.append(key)
            if len(found) % 50 == 0:
                numbers.delete(key)
        assert sorted(found) == sorted(content)


def test_batches_smaller_than_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one element the kernel answers ENOSPC for any bucket that holds two."""
    monkeypatch.setattr(batches, "BYTES", 1)
    with create(MapSpec("numbers", MapType.HASH, U32, U64, 256)) as numbers:
        content = fill(numbers, 256)
        found = list(numbers.items())
        assert dict(found) == content
        assert len(found) == len(content)


@pytest.mark.parametrize("kernel", [(4, 14), (99, 0)], ids=["one by one", "in batches"])
def test_array(as_old_as: Callable[[int, int], None], kernel: List[int]) -> None:
    as_old_as(*kernel)
    with create(MapSpec("cells", MapType.ARRAY, U32, U64, 23), Array) as cells:
        cells.set(22, b"the last")
        assert cells.at(22) == b"the last"
        assert dict(cells.items()) == {KEY.pack(index): b"the last" if index == 22 else bytes(8) for index in range(23)}
        with pytest.raises(IndexError):
            cells.at(23)


def test_array_in_shared_memory() -> None:
    with create(MapSpec("cells", MapType.ARRAY, U32, U32, 1000), Array, flags=maps.MMAPABLE) as cells:
        cells.set(999, b"abcd")
        view = cells.mmap()
        assert view[999 * cells.stride : 999 * cells.stride + 4] == b"abcd"
        view[cells.stride : cells.stride + 4] = b"efgh"
        assert cells.at(1) == b"efgh"


@pytest.mark.parametrize("kernel", [(4, 14), (99, 0)], ids=["one by one", "in batches"])
@pytest.mark.parametrize("kind", [MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH, MapType.PERCPU_ARRAY])
def test_per_cpu(as_old_as: Callable[[int, int], None], kernel: List[int], kind: MapType) -> None:
    as_old_as(*kernel)
    with create(MapSpec("cells", kind, U32, U32, 64)) as cells:
        values = [bytes([cpu + 1]) * 4 for cpu in range(possible_cpus())]
        cells.update(KEY.pack(5), values)
        assert cells.lookup(KEY.pack(5)) == values
        assert dict(cells.items())[KEY.pack(5)] == values
        with pytest.raises(ValueError, match="4 bytes"):
            cells.update(KEY.pack(5), [b"x"] * possible_cpus())


def test_map_of_maps() -> None:
    inner = MapSpec("inner", MapType.HASH, U32, U64, 16)
    for kind in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS):
        with create(MapSpec("outer", kind, U32, U32, 4, inner=inner), MapInMap) as outer, create(inner) as first:
            outer.set(1, first)
            assert outer.lookup(KEY.pack(1)) == KEY.pack(first.id())


def test_perf_event_array_has_a_slot_for_each_possible_cpu() -> None:
    with create(MapSpec("events", MapType.PERF_EVENT_ARRAY, U32, U32, 0)) as events:
        assert needs.bpftool("map", "show", "id", events.id())["max_entries"] == possible_cpus()


def test_bpftool_shows_names_and_fields() -> None:
    with create(MapSpec("records_of_a_test", MapType.HASH, U64, Record, 16)) as records:
        records.update(bytes(8), Record.pack(calls=23, sizes=(1, 2, 3), name=b"prime"))
        shown = needs.bpftool("map", "show", "id", records.id())
        assert shown["name"] == "records_of_a_te"
        (entry,) = needs.bpftool("map", "dump", "id", records.id())
        value = entry["formatted"]["value"]
        assert value["calls"] == 23
        assert value["sizes"] == [1, 2, 3]
        assert value["name"] == "prime"


def test_an_old_kernel_gets_neither_name_nor_types(as_old_as: Callable[[int, int], None]) -> None:
    as_old_as(4, 14)
    with create(MapSpec("records", MapType.HASH, U64, Record, 16)) as records:
        shown = needs.bpftool("map", "show", "id", records.id())
        assert "name" not in shown
        assert "btf_id" not in shown


def test_closing_frees_the_map() -> None:
    with create(MapSpec("short_lived", MapType.HASH, U32, U64, 4)) as short_lived:
        number = str(short_lived.id())
        assert needs.bpftool("map", "show", "id", number)["name"] == "short_lived"
    for _attempt in range(100):  # the kernel frees it some time later
        if "No such file or directory" in needs.bpftool("map", "show", "id", number).get("error", ""):
            return
        time.sleep(0.05)
    pytest.fail(f"map {number} is still there")


def test_refused_map_says_what_and_why() -> None:
    with pytest.raises(
        BpfError, match=r"map huge \(HASH, 0 entries of 4\+8 bytes\): BPF_MAP_CREATE: .*EINVAL"
    ) as refused:
        create(MapSpec("huge", MapType.HASH, U32, U64, 0))
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(ValueError, match="DEVMAP are not supported"):
        create(MapSpec("x", MapType.DEVMAP, U32, U32, 1))
    with pytest.raises(TypeError, match="map x is of class HashMap, not Array"):
        create(MapSpec("x", MapType.HASH, U32, U32, 1), Array)


def test_eperm_without_capabilities_names_them() -> None:
    """In a child that gave its privileges away, the error says which are missing."""
    if not {privileges.Capability.SYS_ADMIN} & privileges.capabilities():
        needs.missing("CAP_SYS_ADMIN")
    program = (
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "from asm import MapSpec, MapType, U32\n"
        "from pybpf import maps\n"
        "try: maps.create(MapSpec('m', MapType.HASH, U32, U32, 1), name=False, btf=False)\n"
        "except OSError as error: print(error)\n"
    )
    # Imported before the privileges go: an unprivileged user need not be able to read the sources.
    program = "import asm, pybpf.maps\n" + program
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=os.getcwd(), check=True)
    assert b"tracing needs root, or CAP_BPF and CAP_PERFMON" in done.stdout
    assert done.stdout.count(b"\n") == 1


@pytest.mark.parametrize("kernel", [(4, 14), (99, 0)], ids=["one by one", "in batches"])
def test_many_keys_are_deleted_at_once(as_old_as: Callable[[int, int], None], kernel: List[int]) -> None:
    """Keys that are not there, and the same one twice, are no obstacle to those that follow."""
    as_old_as(*kernel)
    with create(MapSpec("numbers", MapType.HASH, U32, U64, 100)) as numbers:
        keys = list(fill(numbers, 100))
        numbers.delete_all([keys[3], KEY.pack(1), keys[50], keys[3], KEY.pack(2), keys[99]])
        assert sorted(numbers.keys()) == sorted(set(keys) - {keys[3], keys[50], keys[99]})
        numbers.delete_all([])
        numbers.delete_all(keys)
        assert list(numbers.keys()) == []


@pytest.mark.parametrize("kernel", [(4, 14), (99, 0)], ids=["one by one", "in batches"])
def test_blocks_hold_what_items_gives(as_old_as: Callable[[int, int], None], kernel: List[int]) -> None:
    as_old_as(*kernel)
    with create(MapSpec("numbers", MapType.HASH, U32, U64, 8192)) as numbers:
        content = fill(numbers, 5000)
        found = {}
        for keys, values in numbers.blocks():
            found.update({keys[4 * n : 4 * n + 4]: values[8 * n : 8 * n + 8] for n in range(len(keys) // 4)})
        assert found == content


def test_a_finder_finds_what_a_lookup_does() -> None:
    with create(MapSpec("numbers", MapType.HASH, U32, U64, 100)) as numbers:
        content, find = fill(numbers, 50), numbers.finder()
        assert {key: find(key) for key in content} == content
        assert find(KEY.pack(1)) is None
        numbers.delete(KEY.pack(0))
        assert find(KEY.pack(0)) is None
        with pytest.raises(ValueError):
            find(b"longer than a key")


def test_a_setter_sets_what_an_update_does() -> None:
    with create(MapSpec("numbers", MapType.HASH, U32, U64, 2)) as numbers:
        put = numbers.setter()
        put(KEY.pack(1), bytes([7] * 8))
        put(KEY.pack(2), bytes([8] * 8))
        put(KEY.pack(1), bytes([9] * 8))
        assert dict(numbers.items()) == {KEY.pack(1): bytes([9] * 8), KEY.pack(2): bytes([8] * 8)}
        with pytest.raises(BpfError) as caught:
            put(KEY.pack(3), bytes(8))
        assert caught.value.errno == errno.E2BIG
        for key, value in ((b"longer than a key", bytes(8)), (KEY.pack(1), bytes(9))):
            with pytest.raises(ValueError):
                put(key, value)


@pytest.mark.parametrize(
    ("kind", "key", "value", "flags"),
    [
        (MapType.HASH, U32, U64, 0),
        (MapType.HASH, U32, U64, maps.NO_PREALLOC),
        (MapType.HASH, Record, Record, 1),
        (MapType.LRU_HASH, U64, Record, 0),
        (MapType.ARRAY, U32, Record, 0),
        (MapType.PERCPU_ARRAY, U32, Record, 0),
    ],
)
def test_the_footprint_is_no_less_than_what_the_kernel_says(kind: MapType, key: Any, value: Any, flags: int) -> None:
    """The kernel's own account (6.4: of what is there now, so the map is full), which knows nothing of rounding up."""
    spec = MapSpec("filled", kind, key, value, 4096, flags)
    with create(spec) as filled:
        if kind is MapType.HASH:
            for number in range(4096):
                filled.update(KEY.pack(number).ljust(spec.key_size, b"\0"), bytes(spec.value_size))
        with open(f"/proc/self/fdinfo/{filled.fileno()}") as source:
            told = {name: rest.strip() for name, _, rest in (line.partition(":") for line in source)}
    assert int(told["memlock"]) * 0.9 < maps.footprint(spec) < int(told["memlock"]) * 2 + 65536


@pytest.mark.parametrize(("preemptible", "cpus"), [(False, 2), (True, 2), (True, 1)])
def test_programs_are_waited_for(preemptible: bool, cpus: int) -> None:
    """A grace period takes at least as long as it takes until each CPU has been through the scheduler."""
    if os.cpu_count() == 1:
        needs.impossible("with one CPU there may be nothing to wait for")
    with GracePeriods(preemptible, cpus) as grace:
        assert grace.possible
        begun = time.monotonic()
        for _ in range(5):
            grace.wait()
        assert 0.001 < time.monotonic() - begun < 10
