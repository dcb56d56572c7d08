"""Escaping, widths and human numbers."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iotrace import text

paths = st.binary(max_size=80) | st.text(max_size=40).map(lambda s: s.encode("utf-8", "surrogatepass"))
safe_texts = paths.map(text.safe)


@given(paths)
@example(b"\\x41")
@example(b"/tmp/\x1b]0;owned\x07")
@example("/tmp/\u202egpj.exe".encode())
def test_safe_text_has_nothing_that_drives_a_terminal_and_comes_back(path: bytes) -> None:
    shown = text.safe(path)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert text.unescape(shown) == path
    assert text.unescape(text.ascii_only(shown)) == path
    assert text.ascii_only(shown).isascii()


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/a b/\xc3\xa9", "/a b/é"),
        (b"\x1b[2J\n\x7f\xc2\x9b", r"\x1b[2J\x0a\x7f\xc2\x9b"),
        (b"\xff\\", r"\xff\x5c"),
        ("\u2066\u200b".encode(), r"\xe2\x81\xa6\xe2\x80\x8b"),
    ],
)
def test_safe(path: bytes, shown: str) -> None:
    assert text.safe(path) == shown


@given(paths)
@example(b"\\x41")
@example(b"=1+1")
@example(b'a;"\xe3\x80\x80=1')
def test_portable_text_is_utf_8_of_one_line_and_comes_back(path: bytes) -> None:
    shown = text.portable(path)
    assert shown.encode().decode() == shown
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert text.unescape(shown) == path
    assert shown[:1] not in ("=", "+", "-", "@")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/a b/\xc3\xa9=+-@", "/a b/é=+-@"),  # harmless where they are, so that names stay what they are
        (b"/\xff\\\n\x9b", r"/\xff\x5c\x0a\x9b"),
        (b"=1", r"\x3d1"),
        (b"  +1", r"  \x2b1"),
        (b"/a,-b;@c|=d", r"/a,\x2db;\x40c|\x3dd"),
        ("\u202e\u200b\uff1d".encode(), "\\xe2\\x80\\xae\\xe2\\x80\\x8b\uff1d"),
        ("\uff1d".encode(), r"\xef\xbc\x9d"),
        ("\U000e9999\ue000".encode(), "\U000e9999\ue000"),  # unassigned, private: not for every version of Python
    ],
)
def test_portable(path: bytes, shown: str) -> None:
    assert text.portable(path) == shown


def test_a_surrogate_that_stands_for_no_byte_is_shown_by_number() -> None:
    assert text.safe_text("a\ud800") == r"a\ud800"


@given(safe_texts, st.integers(4, 60))
def test_shortened_text_fits_and_keeps_both_ends(shown: str, columns: int) -> None:
    short = text.shorten(shown, columns)
    assert text.width(short) <= columns
    if short != shown:
        marks = [at for at in range(len(short)) if short.startswith("...", at)]  # the text may have dots of its own
        assert any(shown.startswith(short[:at]) and shown.endswith(short[at + 3 :]) for at in marks)


def test_width_counts_columns() -> None:
    assert text.width("日本") == 4
    assert text.width("e\u0301") == 1
    assert text.shorten("/var/" + "日" * 20, 12) == "/va...日日日"


@given(safe_texts, st.integers(2, 60))
def test_wrapped_lines_fit_and_lose_no_character(shown: str, columns: int) -> None:
    lines = text.wrap(shown, columns)
    assert all(text.width(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == shown.replace(" ", "")


@pytest.mark.parametrize("char", ["\u65e5", "\u0301"])
def test_wrapping_looks_at_each_character_a_few_times(char: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text in a profile may have any length, so the work must not grow with its square."""
    looked_at, char_width = 0, text._char_width

    def counting(one: str) -> int:
        nonlocal looked_at
        looked_at += 1
        return char_width(one)

    monkeypatch.setattr(text, "_char_width", counting)
    text.wrap(char * 20_000, 60)
    assert looked_at <= 4 * 20_000


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (0, "0"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (10 * 1024 - 1, "10.0 KiB"),
        (1 << 20, "1.00 MiB"),
        ((1 << 20) - 1, "1.00 MiB"),
        (1000 << 30, "1000 GiB"),
        ((1 << 63) - 1, "8.00 EiB"),
    ],
)
def test_size(count: int, size: str) -> None:
    assert text.size(count) == size


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (100, "100 B"),
        (4096, "4 KiB"),
        (902_848, "902,848 B"),
        (1 << 40, "1,024 GiB"),
        ((1 << 63) - (1 << 30), "unlimited"),  # what cat and cp ask copy_file_range for
    ],
)
def test_exact_size(count: int, shown: str) -> None:
    assert text.exact_size(count) == shown


@given(st.integers(0, (1 << 63) - 1))
def test_human_numbers_are_right_to_half_a_percent_and_fit_their_columns(count: int) -> None:
    assert len(text.size(count)) <= 8
    factors = {"": 0, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50, "EiB": 2**60}
    value, _, unit = text.size(count).partition(" ")
    assert abs(float(value) * factors[unit] - count) <= 0.005 * count
    found = re.fullmatch(r"([\d.]+)([kMGTPE]?)", text.number(count))
    assert found
    powers = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
    assert abs(float(found.group(1)) * powers[found.group(2)] - count) <= 0.005 * count
    assert len(text.number(count)) <= 5


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0"),
        (999, "999 ns"),
        (1024, "1.02 us"),
        (1_500_000, "1.50 ms"),
        (99_100_000_000, "99.1 s"),
        (600 * 10**9, "10m00s"),
        (3 * 3600 * 10**9 + 7 * 60 * 10**9, "3h07m"),
        ((1 << 63) - 1, "106751d"),
    ],
)
def test_duration(ns: int, shown: str) -> None:
    assert text.duration(ns) == shown


@pytest.mark.parametrize(("part", "shown"), [(0, "0%"), (0.001, "<1%"), (0.5, "50%"), (0.996, ">99%"), (1, "100%")])
def test_shares(part: float, shown: str) -> None:
    assert text.share(part) == shown


def test_pieces_that_fit() -> None:
    assert text.fitting(["one", "two", "three"], 0) == "one  two  three"
    assert text.fitting(["one", "two", "three"], 14) == "one  two"
    assert text.fitting(["one", "two", "three"], 15) == "one  two  three"
    assert text.fitting(["日本", "語"], 8) == "日本  語" and text.fitting(["日本", "語"], 7) == "日本"
