"""The browser of a profile: directories as a disk-usage browser shows them, files, findings, and a search."""

from __future__ import annotations

import io
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from iotrace import text
from iotrace.errors import IotraceError
from iotrace.findings import engine
from iotrace.globs import Selection, literal
from iotrace.profile.combined import combined_files, combined_header, combined_rows
from iotrace.profile.reader import Profile
from iotrace.profile.rows import Sums
from iotrace.profile.tree import Directory, Leaf, Tree
from iotrace.tui.view import Text, View, wrapped
from iotrace.views import findings, histograms
from iotrace.views.one_file import bar, show_file
from iotrace.views.screen import Screen
from iotrace.views.tables import flags_of

_MOST = 10_000  # that a search finds


class Measure(NamedTuple):
    """What the size of a line is."""

    name: str
    title: str
    value: Callable[[Sums], int]
    show: Callable[[int], str]


def _time(ns: int) -> str:
    return text.duration(min(ns, (1 << 63) - 1))


MEASURES = (
    Measure("bytes read and written", "BYTES", lambda sums: sums.bytes_read + sums.bytes_written, text.size),
    Measure("bytes read", "READ", lambda sums: sums.bytes_read, text.size),
    Measure("bytes written", "WRITTEN", lambda sums: sums.bytes_written, text.size),
    Measure("calls", "CALLS", lambda sums: sums.calls, text.number),
    Measure("time in calls", "TIME", lambda sums: sums.busy_ns, _time),
    Measure("syncs", "SYNCS", lambda sums: sums.syncs, text.number),
    Measure("errors", "ERRORS", lambda sums: sums.errors, text.number),
)
_BESIDE = (1, 2, 3, 5, 4)  # columns where there is room for them

HELP = """\
Sizes are what was done in this profile, not what files take on the disk.

  up down k j, page up and down, home end g G    move
  right enter l          open a directory or a file
  left backspace h       the directory above
  s S                    the next, the last measure: bytes, read, written, calls, time, syncs, errors
  a                      by name, and by size again
  i                      the histograms of all that is in a directory
  f                      findings: what is worth changing
  / n N                  search all names; the next, the one before
  ?                      this
  q                      back, and in the end out

With the mouse: a line is chosen by a click, and opened by another; the wheel scrolls.

d deleted   m also memory-mapped: what went through memory is in no number   r renamed since
t with what was done under a temporary name   u no path leads to it
"""


class Item(NamedTuple):
    """A line: a directory, a file, or what there was no room for."""

    name: bytes
    sums: Sums
    files: int
    directory: Optional[Directory] = None
    leaf: Optional[Leaf] = None


class Browser:
    """The profiles that are browsed, and their tree."""

    def __init__(self, profiles: Sequence[Profile], selection: Selection, *, folded: bool, unicode: bool) -> None:
        """Raises ProfileError, UserError."""
        self.profiles, self.selection, self.folded, self.unicode = profiles, selection, folded, unicode
        self.header = combined_header(profiles)
        self.tree = Tree(combined_rows(profiles, selection, folded=folded))
        self.measure = MEASURES[0]
        self.by_name = False

    def next_measure(self, step: int) -> None:
        """Another size of lines."""
        self.measure = MEASURES[(MEASURES.index(self.measure) + step) % len(MEASURES)]

    def name(self, raw: bytes, room: int) -> str:
        """A name, made safe, in so many columns."""
        safe = text.safe(raw if len(raw) <= 8 * room else raw[: 4 * room] + b"..." + raw[-4 * room :])
        return text.shorten(safe if self.unicode else text.ascii_only(safe), max(room, 1))

    def path(self, raw: bytes, room: int) -> str:
        """The same of a path: its end is kept."""
        safe = text.safe(raw if len(raw) <= 8 * room else b"..." + raw[-8 * room :])
        return text.shorten_path(safe if self.unicode else text.ascii_only(safe), max(room, 1))

    def start(self) -> Directory:
        """The deepest directory that everything is in."""
        at = self.tree.root
        while len(at.directories) == 1 and not at.leaves and not at.unlisted:
            (at,) = at.directories.values()
        return at

    def _screen(self, width: int) -> Tuple[io.StringIO, Screen]:
        out = io.StringIO()
        screen = Screen(out, max(width, 50))
        screen.unicode = self.unicode
        return out, screen

    def file(self, directory: Directory, leaf: Leaf) -> Text:
        """Everything about a file."""
        path = directory.path_of(leaf)

        def lines(width: int) -> List[str]:
            out, screen = self._screen(width)
            for found in combined_files(self.profiles, path, folded=self.folded):
                own_host = leaf.host if found.file.host is not None else None
                if found.file.mnt_ns == leaf.mnt_ns and found.file.host == own_host:
                    show_file(screen, found.file, self.header.started_ns, found.temporary, found.more)
            return out.getvalue().splitlines()

        return Text(self.path(path, 200), _told(lines))

    def inside(self, directory: Directory) -> Text:
        """The histograms of everything in a directory."""
        selection = Selection((literal(directory.path.rstrip(b"/")) + b"/*",), self.selection.exclude)

        def lines(width: int) -> List[str]:
            out, screen = self._screen(width)
            histograms.show(out, self.profiles, selection, columns=screen.columns)
            return out.getvalue().splitlines()

        return Text(self.path(directory.path, 200) + ": everything in it", _told(lines))

    def findings(self) -> Text:
        """What is worth changing."""
        found: List[engine.Finding] = []
        sought = False

        def lines(width: int) -> List[str]:
            nonlocal sought
            if not sought:
                found.extend(engine.find(self.profiles, {}, self.selection))
                sought = True
            out, screen = self._screen(width)
            if found:
                findings.show(screen, found)
            else:
                findings.show_nothing(screen)
            return out.getvalue().splitlines()

        return Text("findings: the worst first", _told(lines))


def _told(lines: Callable[[int], List[str]]) -> Callable[[int], List[str]]:
    """The same lines, or what is wrong with the profile: some of it is read only now."""

    def told(width: int) -> List[str]:
        try:
            return lines(width)
        except IotraceError as error:
            return text.wrap(text.safe_text(str(error)), width)

    return told


class _List(View):
    """Lines with a size each."""

    def __init__(self, browser: Browser) -> None:
        super().__init__()
        self.browser = browser
        self._items: List[Item] = []
        self._largest = 0
        self._names_at = 0  # the column in which names begin
        self._order: Tuple[object, ...] = ()

    def find(self) -> List[Item]:
        """What there is to show."""
        raise NotImplementedError

    def items(self) -> List[Item]:
        """The same in order."""
        browser = self.browser
        order = (browser.measure, browser.by_name)
        if order != self._order:
            chosen = self._items[self.cursor] if self.cursor < len(self._items) else None
            value = browser.measure.value
            found = self.find()
            self._largest = max((value(item.sums) for item in found), default=0)
            if browser.by_name:
                found.sort(key=lambda item: item.name)
            else:
                found.sort(key=lambda item: (-value(item.sums), item.name))
            self._items, self._order = found, order
            if chosen is not None and chosen in found:
                self.cursor = found.index(chosen)
        return self._items

    def count(self) -> int:
        return len(self.items())

    def columns(self, width: int) -> List[Measure]:
        """Measures that are shown besides the one that lines are sorted by."""
        if width < 96:
            return []
        return [MEASURES[index] for index in _BESIDE if MEASURES[index] != self.browser.measure]

    def titles(self, width: int) -> str:
        beside = "".join(f" {measure.title:>8}" for measure in self.columns(width))
        return f"{self.browser.measure.title:>8} SHARE{'':<{self.bar(width)}}{beside}  FILES    {self.subject()}"

    def subject(self) -> str:
        """What names are of."""
        return "NAME"

    def bar(self, width: int) -> int:
        """How long bars are."""
        return 8 if width < 70 else 14 if width < 120 else 24

    def line(self, index: int, width: int) -> str:
        item = self.items()[index]
        measure, room = self.browser.measure, self.bar(width)
        value = measure.value(item.sums)
        shown = bar(value, self._largest, room, self.browser.unicode)
        beside = "".join(f" {each.show(each.value(item.sums)):>8}" for each in self.columns(width))
        whole = measure.value(Sums(*self.whole()))
        part = text.share(value / whole) if whole else "-"
        marks = "" if item.leaf is None else flags_of(item.leaf.marks)
        files = text.number(item.files) if item.leaf is None else ""
        start = f"{measure.show(value):>8} {part:>4} {shown:<{room}}{beside} {files:>6} {marks:<2} "
        self._names_at = text.width(start)
        return start + self.name(item, width - self._names_at)

    def whole(self) -> Tuple[int, ...]:
        """The sums of all lines."""
        return self.browser.tree.root.sums

    def name(self, item: Item, room: int) -> str:
        """The name of a line."""
        if item.directory is not None:
            return self.browser.name(item.name, room - 1) + "/"
        host = (
            f" on {text.safe_text(item.leaf.host)}"
            if item.leaf is not None and len(self.browser.tree.hosts) > 1
            else ""
        )
        return self.browser.name(item.name, max(room - len(host), 8)) + host

    def strong(self, index: int) -> int:
        return self._names_at if self.items()[index].directory is not None else -1

    def do(self, key: str, character: str) -> None:
        browser = self.browser
        if character in ("s", "S"):
            browser.next_measure(1 if character == "s" else -1)
            self.said = f"by {browser.measure.name}"
        elif character == "a":
            browser.by_name = not browser.by_name
        elif character == "f":
            self.next = browser.findings()
        elif character == "?":
            self.next = Text("keys", lambda width: wrapped(HELP.splitlines(), width))
        elif character == "/":
            self.ask("/", self._search)
        elif key in ("enter", "right", "l") and self.items():
            self.open(self.items()[self.cursor])
        else:
            super().do(key, character)

    def open(self, item: Item) -> None:
        """Show what is in a line."""
        raise NotImplementedError

    def _search(self, words: str) -> None:
        if words:
            self.next = Results(self.browser, words)


class Contents(_List):
    """What is in a directory."""

    def __init__(self, browser: Browser, directory: Directory) -> None:
        super().__init__(browser)
        self.directory = directory

    def find(self) -> List[Item]:
        here = self.directory
        found = [Item(each.name, Sums(*each.sums), each.files, each) for each in here.directories.values()]
        found += [Item(leaf.name, Sums(*leaf.row), 1, None, leaf) for leaf in here.leaves]
        if here.unlisted:
            found.append(Item(b"(files for which there was no room)", Sums(*here.others), here.unlisted))
        return found

    def whole(self) -> Tuple[int, ...]:
        return self.directory.sums

    def head(self, width: int) -> List[str]:
        here = self.directory
        sums = Sums(*here.sums)
        said = [text.counted(here.files, "file"), f"read {text.size(sums.bytes_read)}"]
        said += [f"written {text.size(sums.bytes_written)}", text.counted(sums.calls, "call")]
        said += [text.counted(sums.syncs, "sync")] if sums.syncs else []
        said += [f"{_time(sums.busy_ns)} in calls"] if sums.busy_ns else []
        return [self.browser.path(here.path, width), text.fitting(said, width), ""]

    def keys(self) -> str:
        return "? help  enter open  left up  s by  i histograms  f findings  / search  q quit"

    def do(self, key: str, character: str) -> None:
        if key in ("left", "h", "backspace"):
            if self.directory.parent is None:
                self.said = "there is nothing above"
            else:
                above = Contents(self.browser, self.directory.parent)
                places = [index for index, item in enumerate(above.items()) if item.directory is self.directory]
                above.cursor = places[0] if places else 0
                self.leave, self.next = True, above
        elif character == "i":
            self.next = self.browser.inside(self.directory)
        else:
            super().do(key, character)

    def open(self, item: Item) -> None:
        if item.directory is not None:
            self.leave, self.next = True, Contents(self.browser, item.directory)
        elif item.leaf is not None:
            self.next = self.browser.file(self.directory, item.leaf)


class Results(_List):
    """What a search has found."""

    def __init__(self, browser: Browser, words: str) -> None:
        super().__init__(browser)
        self._words = words
        self._found = list(browser.tree.search(words.encode("utf-8", "surrogateescape"), _MOST))
        self._homes: Dict[int, Directory] = {}

    def find(self) -> List[Item]:
        found = []
        for directory, leaf in self._found:
            if leaf is None:
                found.append(Item(directory.path, Sums(*directory.sums), directory.files, directory))
            else:
                found.append(Item(directory.path_of(leaf), Sums(*leaf.row), 1, None, leaf))
                self._homes[id(leaf)] = directory
        return found

    def head(self, width: int) -> List[str]:
        count = len(self._found)
        many = f"{count:,} or more" if count >= _MOST else f"{count:,}"
        return [text.head(f"{many} found: {text.safe_text(self._words)}", width), ""]

    def keys(self) -> str:
        return "enter open  s measure  / another  q back"

    def name(self, item: Item, room: int) -> str:
        return self.browser.path(item.name, room - 1) + ("/" if item.leaf is None else "")

    def open(self, item: Item) -> None:
        if item.leaf is not None:
            self.next = self.browser.file(self._homes[id(item.leaf)], item.leaf)
        elif item.directory is not None:
            self.next = Contents(self.browser, item.directory)


def first(browser: Browser) -> Contents:
    """The screen to begin with."""
    return Contents(browser, browser.start())
