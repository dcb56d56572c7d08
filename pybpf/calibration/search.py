"""Finding members of structs in the kernel's memory: where each object of a kind holds what is known about it."""

from __future__ import annotations

from typing import Callable, Dict, Iterable, List, NamedTuple, Sequence, Set, Tuple

from pybpf.calibration.peek import Peek

__all__ = ["Block", "CalibrationError", "Search", "apart", "is_pointer", "places", "pointers"]


class CalibrationError(RuntimeError):
    """A member that could not be found for certain: `member` is its dotted name, and the text says why."""

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(f"{member}: {reason}")
        self.member = member


class Block(NamedTuple):
    """A piece of kernel memory, as it was when it was read."""

    address: int
    data: bytes

    def word(self, offset: int, size: int = 8) -> int:
        """The unsigned integer of `size` bytes at `offset`; 0 beyond the end."""
        return int.from_bytes(self.data[offset : offset + size], "little")


def is_pointer(word: int) -> bool:
    """Whether this may be a kernel object's address: in the upper half, and not an ERR_PTR (include/linux/err.h)."""
    return 1 << 63 <= word < (1 << 64) - 4096


def pointers(blocks: Sequence[Block]) -> List[int]:
    """The offsets at which every block has what may be a pointer."""
    end = min(len(block.data) for block in blocks)
    return [at for at in range(0, end - 7, 8) if all(is_pointer(block.word(at)) for block in blocks)]


def places(samples: Iterable[Tuple[Block, int]], size: int) -> Set[int]:
    """The offsets at which each block holds its own value, as an aligned unsigned integer of `size` bytes."""
    wanted = [(block.data, value.to_bytes(size, "little")) for block, value in samples]
    data, value = wanted[0]
    found, at = set(), data.find(value)
    while at >= 0:
        if at % size == 0 and all(data[at : at + size] == value for data, value in wanted):
            found.add(at)
        at = data.find(value, at + 1)
    return found


def apart(addresses: Iterable[int]) -> int:
    """The least distance in bytes between any two objects at these addresses, which none of them can exceed in size.

    Memory is handed out from rows of objects of one kind: an object is often followed by another that looks like it.
    """
    ordered = sorted(set(addresses))
    return min((high - low for low, high in zip(ordered, ordered[1:])), default=1 << 32)


class Search:
    """What has been found so far, `members` with their offsets in bytes, and how to look further."""

    def __init__(self, peek: Peek) -> None:
        self.peek = peek
        self.members: Dict[str, int] = {}

    def read(self, address: int, size: int) -> Block:
        """Memory from `address` on; shorter where it ends."""
        return Block(address, self.peek.read(address, size))

    def follow(self, blocks: Iterable[Block], member: str, size: int) -> List[Block]:
        """What the pointers `member` of the blocks, which was found before, point to: `size` bytes of each, at most."""
        return self.objects([block.word(self.members[member]) for block in blocks], size)

    def objects(self, addresses: Sequence[int], size: int) -> List[Block]:
        """Objects of one kind, of `size` bytes at most."""
        size = min(size, apart(addresses))
        known = {address: self.read(address, size) for address in set(addresses)}
        return [known[address] for address in addresses]

    def has_text(self, address: int, text: bytes) -> bool:
        """Whether this string, with a 0 at its end, lies at `address`."""
        return self.peek.read(address, len(text) + 1) == text + b"\0"

    def found(self, member: str, offsets: Iterable[int]) -> int:
        """Note the one offset that a member may have, and return it. Raises CalibrationError for none or several."""
        every = sorted(set(offsets))
        if not every:
            raise CalibrationError(member, "it is nowhere in the objects that should have it")
        if len(every) > 1:
            raise CalibrationError(member, f"it may be at any of the offsets {', '.join(map(str, every))}")
        self.members[member] = every[0]
        return every[0]

    def through(
        self,
        member: str,
        blocks: Sequence[Block],
        size: int,
        test: Callable[[List[Block]], object],
        among: Callable[[List[int]], bool] = lambda _words: True,
    ) -> int:
        """The one offset at which all blocks have pointers to objects that, read `size` bytes long, pass `test`.

        The test gets the first object alone too, so that most wrong pointers cost one reading; those that do not look
        right `among` each other cost none.
        """
        passed = []
        for offset in pointers(blocks):
            words = [block.word(offset) for block in blocks]
            if among(words) and test([self.read(words[0], size)]) and test(self.objects(words, size)):
                passed.append(offset)
        return self.found(member, passed)
