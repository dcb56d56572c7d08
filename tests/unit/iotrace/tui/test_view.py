"""Views without a terminal: moving, asking, texts, and screens on top of each other."""

from __future__ import annotations

from typing import List

from iotrace.tui.view import Text, View, advance, wrapped

ROOM = 5


class Numbers(View):
    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self.did: List[str] = []

    def count(self) -> int:
        return self._count

    def do(self, key: str, character: str) -> None:
        self.did.append(key)
        super().do(key, character)


def press(view: View, *keys: str) -> None:
    for key in keys:
        view.pressed(key, key if len(key) == 1 else None, ROOM)


def test_the_cursor_stays_in_the_list_and_on_the_screen() -> None:
    view = Numbers(20)
    press(view, "up")
    assert (view.cursor, view.top) == (0, 0)
    press(view, *["down"] * 5)
    assert (view.cursor, view.top) == (5, 1)
    press(view, "pagedown", "space")
    assert (view.cursor, view.top) == (15, 11)
    press(view, "end", "j")
    assert (view.cursor, view.top) == (19, 15)
    press(view, "b")
    assert (view.cursor, view.top) == (14, 14)
    press(view, "g")
    assert (view.cursor, view.top) == (0, 0)
    view.scroll(3, ROOM)
    assert view.cursor == 3


def test_a_list_that_has_become_short() -> None:
    view = Numbers(20)
    press(view, "end")
    view._count = 2
    view.settle(ROOM)
    assert (view.cursor, view.top) == (1, 0)
    view._count = 0
    press(view, "down")
    assert (view.cursor, view.top) == (0, 0)


def test_a_click_chooses_and_another_one_opens() -> None:
    view = Numbers(20)
    view.choose(7)
    assert view.cursor == 7 and not view.did
    view.choose(7)
    view.choose(20)
    assert view.cursor == 7 and view.did == ["enter"]


def test_what_is_typed() -> None:
    said: List[str] = []
    view = Numbers(20)
    view.ask("only: ", said.append, "a")
    assert view.foot() == "only: a_"
    press(view, "j", "q", "backspace", "\x1b")
    assert view.foot() == "only: aj_" and not view.leave
    press(view, "enter")
    assert said == ["aj"] and view.prompt is None
    view.ask("only: ", said.append)
    press(view, "x", "escape")
    assert said == ["aj", ""]


def test_a_text_is_scrolled_and_searched() -> None:
    view = Text("title", lambda width: [f"{number} of {width}" for number in range(30)])
    assert view.head(40) == ["title"] and view.count() == 30
    press(view, "down", "down")
    assert view.top == 2
    press(view, "/", "1", "7", "enter")
    assert view.top == 17 and view.loud(17) and not view.loud(18)
    press(view, "n")
    assert view.foot() == "no more of 17"
    press(view, "g", "/", "9", " ", "enter", "n")
    assert view.top == 19
    press(view, "N")
    assert view.top == 9
    press(view, "/", "z", "enter")
    assert view.foot() == "no z"
    press(view, "q")
    assert view.leave


def test_screens_on_top_of_each_other() -> None:
    below, above, other = Numbers(1), Numbers(2), Numbers(3)
    stack: List[View] = [below]
    below.next = above
    advance(stack)
    assert stack == [below, above] and below.next is None
    above.leave, above.next = True, other  # in its place
    advance(stack)
    assert stack == [below, other]
    other.leave = True
    advance(stack)
    below.leave = True
    advance(stack)
    advance(stack)
    assert not stack


def test_help_is_wrapped_below_itself() -> None:
    assert wrapped(["  one two three", "", "four"], 10) == ["  one two", "  three", "", "four"]
