"""What a screen shows and does, without a terminal: lines of safe text, and what keys do to them."""

from __future__ import annotations

from typing import Callable, List, Optional, Sequence

from iotrace import text


class View:
    """A screen: some lines at the top, a list in which a line is chosen or a text to scroll, and a last line."""

    chooses = True  # a line; else the lines are a text
    prompt: Optional[str] = None  # what is being typed, if anything
    said = ""  # instead of the last line

    def __init__(self) -> None:
        self.cursor = self.top = 0
        self.leave = False  # whether this screen is done
        self.next: Optional[View] = None  # the screen that is to be shown on top of this one
        self._asked: Callable[[str], None] = lambda _words: None
        self._question = ""

    # -- what is shown ------------------------------------------------------------------------------------------------

    def head(self, width: int) -> List[str]:
        """The lines at the top."""
        return []

    def titles(self, width: int) -> str:
        """The line above the list, "" for none."""
        return ""

    def count(self) -> int:
        """How many lines there are."""
        return 0

    def line(self, index: int, width: int) -> str:
        """One of them."""
        return ""

    def loud(self, index: int) -> bool:
        """Whether it is to be seen first."""
        return False

    def strong(self, index: int) -> int:
        """The column from which on a line is bold; -1 for none of it."""
        return 0 if self.loud(index) else -1

    def keys(self) -> str:
        """What keys do, in a line."""
        return "q back"

    def foot(self) -> str:
        """The last line."""
        if self.prompt is not None:
            return f"{self._question}{text.safe_text(self.prompt)}_"
        return self.said or self.keys()

    # -- what keys do -------------------------------------------------------------------------------------------------

    def ask(self, question: str, then: Callable[[str], None], words: str = "") -> None:
        """Have something typed in the last line; `then` gets it with each key, and at the end."""
        self._question, self._asked, self.prompt = question, then, words

    def pressed(self, key: str, character: Optional[str], room: int) -> None:
        """A key, by textual's name for it and by the character that it stands for; `room` is of the lines shown."""
        self.said = ""
        if self.prompt is not None:
            self._type(key, character)
        elif not self._move(key, room):
            self.do(key, character or "")
        self.settle(room)

    def _type(self, key: str, character: Optional[str]) -> None:
        assert self.prompt is not None
        words = self.prompt
        if key in ("enter", "escape"):
            self.prompt = None
            self._asked("" if key == "escape" else words)
            return
        if key == "backspace":
            self.prompt = words[:-1]
        elif key == "ctrl+u":
            self.prompt = ""
        elif character is not None and character.isprintable() and len(words) < 200:
            self.prompt = words + character
        if self.prompt != words:
            self.typing(self.prompt)

    def typing(self, words: str) -> None:
        """What is being typed has changed."""

    def _move(self, key: str, room: int) -> bool:
        """Whether it was a key that moves; the same in all screens, and as in less and ncdu."""
        steps = {
            "up": -1, "k": -1, "down": 1, "j": 1, "pageup": -room, "b": -room, "ctrl+b": -room, "pagedown": room,
            "space": room, "ctrl+f": room, "home": -self.count(), "g": -self.count(), "end": self.count(),
            "G": self.count(), "upper_g": self.count(),
        }  # fmt: skip
        if key not in steps or key in self.own_keys():
            return False
        if self.chooses:
            self.cursor += steps[key]
        else:
            self.top += steps[key]
        return True

    def own_keys(self) -> Sequence[str]:
        """Keys that do something else here than move."""
        return ()

    def do(self, key: str, character: str) -> None:
        """A key that does not move."""
        if key in ("q", "escape", "left", "h", "backspace"):
            self.leave = True

    def choose(self, index: int) -> None:
        """A line was pressed with the mouse: choose it, or, if it is chosen, open it."""
        if not self.chooses or not 0 <= index < self.count():
            return
        if index == self.cursor:
            self.do("enter", "\r")
        else:
            self.cursor = index

    def scroll(self, lines: int, room: int) -> None:
        """The wheel was turned."""
        if self.chooses:
            self.cursor += lines
        else:
            self.top += lines
        self.settle(room)

    def settle(self, room: int) -> None:
        """Keep the cursor within the list, and the lines that are shown around it."""
        most = max(self.count() - 1, 0)
        self.cursor = min(max(self.cursor, 0), most)
        if self.chooses:
            self.top = min(max(self.top, self.cursor - max(room, 1) + 1), self.cursor)
        self.top = max(min(self.top, self.count() - room), 0)


def wrapped(lines: Sequence[str], width: int) -> List[str]:
    """Lines of help, those that are too long on several, with what is at their beginnings kept as it is."""
    found = []
    for line in lines:
        start = line[: len(line) - len(line.lstrip())]
        parts = text.wrap(line.lstrip(), max(width - len(start), 2)) if len(line) > width else [line.lstrip()]
        found += [start + part for part in parts]
    return found


def advance(stack: List[View]) -> None:
    """Take off the view on top if it is done, and put on top what it wants there."""
    if not stack:
        return
    top = stack[-1]
    wanted, top.next = top.next, None
    if top.leave:
        top.leave = False
        stack.pop()
    if wanted is not None:
        stack.append(wanted)


class Text(View):
    """Lines of safe text to read, such as everything about one file; `/` searches."""

    chooses = False

    def __init__(self, title: str, make: Callable[[int], List[str]]) -> None:
        """`make` has the lines for a width."""
        super().__init__()
        self._title, self._make = title, make
        self._width = 0
        self._lines: List[str] = []
        self._found = ""

    def _laid_out(self, width: int) -> List[str]:
        if width != self._width:
            self._width, self._lines = width, self._make(width)
        return self._lines

    def head(self, width: int) -> List[str]:
        self._laid_out(width)
        return [text.shorten(self._title, width)]

    def count(self) -> int:
        return len(self._lines)

    def line(self, index: int, width: int) -> str:
        return text.head(self._lines[index], width)

    def loud(self, index: int) -> bool:
        return bool(self._found) and self._found.lower() in self._lines[index].lower()

    def keys(self) -> str:
        return "q back  / search  n next  arrows, space, b scroll"

    def again(self, width: int) -> None:
        """Lay it out anew: what it is of has changed."""
        self._width = 0
        self._laid_out(width)

    def do(self, key: str, character: str) -> None:
        if character == "/":
            self.ask("/", self._search)
        elif character in ("n", "N"):
            self._next(1 if character == "n" else -1)
        else:
            super().do(key, character)

    def _search(self, words: str) -> None:
        self._found = words
        if words:
            self.top -= 1
            self._next(1)

    def _next(self, step: int) -> None:
        places = [index for index in range(self.count()) if self.loud(index)]
        later = [index for index in places if (index - self.top) * step > 0]
        if later:
            self.top = min(later) if step > 0 else max(later)
        elif self._found:
            self.said = f"no more of {text.safe_text(self._found)}" if places else f"no {text.safe_text(self._found)}"
