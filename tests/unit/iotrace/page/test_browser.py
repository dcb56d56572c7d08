"""The page in a real Chromium, with the network cut off: that it shows what there is, and does what it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from iotrace import text
from iotrace.globs import EVERYTHING
from iotrace.page import against, assembly, library
from iotrace.page.document import collect
from iotrace.profile import reader
from iotrace.profile.metrics import Header
from tests import needs
from tests.browser import ENTER, ESCAPE, TAB, Browser, chromium
from tests.unit.iotrace.page.samples import HEADER, MARKUP, hostile, hostile_header, profile, sample

FILES = {each.path: each for each in sample()}
TABLE = ".sorts"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(needs.program("chromium"), needs.program("chromedriver")) as session:
        yield session


@pytest.fixture(scope="module")
def charts() -> str:
    """The real library, made once."""
    needs.module(library.MODULE, (3, 10))
    with library.Library() as made:
        return made.text()


@pytest.fixture(scope="module")
def pages(place: Path, charts: str) -> Dict[str, Path]:
    """A usual profile against another one; one of hostile names, against itself; one of which few files are listed; one
    without any."""
    usual = profile(place, "usual", HEADER, sample())
    other = profile(place, "other", HEADER, (each for each in sample() if b"/wal/" not in each.path))
    bad = profile(place, "bad", hostile_header(), hostile())
    none = profile(place, "none", Header(), iter(()))
    made = {}
    for name, path, before, most in (
        ("usual", usual, other, 1000),
        ("hostile", bad, bad, 1000),
        ("few", usual, None, 9),
        ("empty", none, None, 9),
    ):
        with reader.open(path) as opened:
            document = collect([opened], most=most)
        if before is not None:
            document.summary["against"] = against.compare((str(before), str(path)), EVERYTHING)
        made[name] = place / f"{name}.html"
        with open(made[name], "wb") as stream:
            assembly.write(stream, document, charts)
    return made


@pytest.fixture
def usual(browser: Browser, pages: Dict[str, Path]) -> Browser:
    """The usual page, at its beginning."""
    browser.look(1280, 900)
    browser.complaints(), browser.requests()
    browser.open(pages["usual"])
    return browser


def shown(browser: Browser, count: int = 4) -> List[str]:
    return [row[0] for row in browser.rows(TABLE)[:count]]


def test_it_asks_for_nothing_and_complains_of_nothing(usual: Browser, pages: Dict[str, Path]) -> None:
    assert {url for url in usual.requests() if not url.startswith("data:,")} == {pages["usual"].as_uri()}
    assert usual.complaints() == []
    assert usual.run("return document.querySelectorAll('canvas').length") == 3  # treemap, over time, heat map


def test_the_policy_holds(usual: Browser) -> None:
    """What the page's own scripts never do is refused: handlers in attributes, scripts, styles, eval, images."""
    refused = usual.run_later(
        """
        const done = arguments[0], refused = new Set();
        document.addEventListener("securitypolicyviolation", (event) => refused.add(event.effectiveDirective));
        const e = document.createElement("button");
        e.setAttribute("onclick", "window.owned = 1");
        const s = document.createElement("script");
        s.textContent = "window.owned = 1";
        document.body.append(e, s);
        e.click();
        e.setAttribute("style", "color: red");
        new Image().src = "http://192.0.2.1/x.png";
        setTimeout("window.owned = 1", 0);
        setTimeout(() => done([...refused].sort()), 50);
        """
    )
    assert refused == ["img-src", "script-src", "script-src-attr", "script-src-elem", "style-src-attr"]
    assert usual.run("return window.owned") is None
    assert len(usual.complaints()) >= 5  # so the console is heard


def test_figures_are_those_of_the_profile(usual: Browser) -> None:
    read, written = (sum(getattr(each, name) for each in FILES.values()) for name in ("bytes_read", "bytes_written"))
    assert usual.text(".card.read .value") == text.size(read)
    assert usual.text(".card.written .value") == text.size(written)
    assert usual.text(".card.files .value") == "122"
    assert usual.text("#where .count") == f"{text.size(read + written)} in 122 files"
    assert usual.text("#files .count") == f"122 files, {text.size(read + written)}"
    rows: Dict[str, List[str]] = {}
    usual.click(f"{TABLE} th:first-child button")
    for _ in range(3):
        rows.update((row[0], row[1:]) for row in usual.rows(TABLE))
        if usual.run("return !document.querySelectorAll('.pager button')[1].disabled"):
            usual.click(".pager button:last-child")
    assert len(rows) == 122
    for path, found in FILES.items():
        if found.ended_as is None and path != b"/srv/db/state":
            cells = rows[path.decode()]
            syncs = found.syscalls["fsync"].calls if "fsync" in found.syscalls else 0
            busy = sum(call.latency_sum_ns for call in found.syscalls.values())
            expected = [text.size(found.bytes_written), text.size(found.bytes_read), text.number(found.calls)]
            assert [cells[0], cells[1], cells[2], cells[4]] == [*expected, text.number(syncs)]
            assert cells[6] == text.duration(busy).replace(" us", " \u00b5s")


def test_down_into_the_treemap(usual: Browser) -> None:
    """By the list beside it, by the chart itself, and back by the path above."""
    usual.click("#where .list tbody tr:first-child button")
    assert usual.text(".crumbs [aria-current]") == "db"
    below = sum(f.bytes_read + f.bytes_written for f in FILES.values() if f.path.startswith(b"/srv/"))
    assert usual.text("#where .count") == f"{text.size(below)} in 121 files"
    usual.wait("document.querySelector('.where .chart canvas')")
    names = [row[0] for row in usual.rows("#where .list table")]
    assert sorted(names) == ["base/", "log/old/", "state", "wal/"]
    usual.click_at(".where .chart", 30, 20)  # the head of the largest
    usual.wait("document.querySelectorAll('.crumbs li').length > 3")
    assert usual.text(".crumbs [aria-current]") in names[0]
    usual.click(".crumbs li:nth-child(1) button")
    assert usual.text("#where .count").endswith(" in 122 files")
    usual.run("document.querySelectorAll('#where .choice input')[3].click()")
    syncs = sum(f.syscalls["fsync"].calls for f in FILES.values() if "fsync" in f.syscalls)
    assert usual.text("#where .count") == f"{syncs} in 122 files"
    assert usual.complaints() == []


def test_sorting(usual: Browser) -> None:
    """By mouse and by keyboard, both ways."""
    by_reads = sorted(FILES.values(), key=lambda each: -each.bytes_read)
    usual.click(f"{TABLE} th:nth-child(3) button")
    assert shown(usual) == [each.path.decode() for each in by_reads[:4]]
    assert usual.run("return document.querySelectorAll('[aria-sort]').length") == 1
    usual.type(f"{TABLE} th:nth-child(3) button", ENTER)
    assert usual.rows(TABLE)[0][2] == "300 B"
    usual.type(f"{TABLE} th:nth-child(1) button", ENTER)
    assert shown(usual, 1) == ["/etc/services"]


def test_filtering_as_one_types(usual: Browser) -> None:
    usual.type("#filter", "WAL 7")
    expected = [path.decode() for path in FILES if b"wal" in path and b"7" in path]
    assert sorted(row[0] for row in usual.rows(TABLE)) == sorted(expected)
    assert usual.text("#files .count").startswith(f"{len(expected)} files, ")
    usual.type("#filter", " -97")
    assert len(usual.rows(TABLE)) == len([path for path in expected if "97" not in path])
    usual.type("#filter", " nowhere")
    assert usual.rows(TABLE) == [["No file matches."]]


def test_the_histograms_of_a_file(usual: Browser) -> None:
    usual.type("#filter", "base/0003")
    usual.type(f"{TABLE} tbody button", ENTER)
    usual.wait("document.querySelectorAll('#dialog canvas').length > 4")
    found = FILES[b"/srv/db/base/0003.tbl"]
    assert usual.text("#dialog-title") == found.path.decode()
    reads, hits = found.syscalls["pread64"].calls, found.syscalls["pread64"].storage_calls
    usual.run("document.querySelectorAll('#dialog details').forEach(each => { each.open = true; })")
    usual.wait("document.querySelectorAll('#dialog table').length > 4")
    tables = usual.run(
        "return [...document.querySelectorAll('#dialog table')].map(each => [each.caption.textContent,"
        " [...each.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent))])"
    )
    rows = dict(tables)
    assert rows["Reads: sizes"] == [["4.00 KiB to 8.00 KiB", f"{reads}", f"{reads}"]]
    assert rows["Reads: latency"] == [["4.10 \u00b5s to 8.19 \u00b5s", f"{reads - hits}", f"{hits}"]]
    assert rows["Bytes between syncs"] == [["4.00 KiB to 8.00 KiB", f"{found.syscalls['fsync'].calls}"]]
    usual.type("#dialog button", ESCAPE)
    assert usual.run("return document.getElementById('dialog').open") is False
    assert usual.complaints() == []


def test_against_another_run(usual: Browser) -> None:
    figures = usual.rows("#against table")
    assert [row[0] for row in figures if row[0]] == ["Read", "Written", "Synced"]
    assert "40 appeared" in usual.text("#against .notes")
    new = [row for row in usual.rows("#against .scroll table") if row[3] == "new"]
    assert len(new) == 40 and all("/wal/" in row[0] and row[1] == "-" for row in new)


def test_what_is_missing_is_said(usual: Browser) -> None:
    assert "INCOMPLETE" in usual.text(".state") and "LOST: 7 calls" in usual.text(".hero .notice")
    assert ["io_uring", "none: no tracepoint"] in usual.rows("#about table")


def test_what_is_not_listed_is_in_the_sums(browser: Browser, pages: Dict[str, Path]) -> None:
    browser.open(pages["few"])
    moved = sum(each.bytes_read + each.bytes_written for each in FILES.values())
    assert browser.text("#where .count") == f"{text.size(moved)} in 122 files"
    assert "The 9 busiest of 122 files. The other 113" in browser.text("#files .lead")
    assert any("not listed" in row[0] for row in browser.rows("#where .list table")) or browser.text(".crumbs")


def test_a_profile_of_nothing(browser: Browser, pages: Dict[str, Path]) -> None:
    browser.complaints()
    browser.open(pages["empty"])
    assert browser.text("#files .count") == "0 files, 0" and browser.rows(TABLE) == [["No file matches."]]
    assert browser.complaints() == []


def test_hostile_names_do_nothing_but_show(browser: Browser, pages: Dict[str, Path]) -> None:
    browser.complaints(), browser.requests()
    browser.open(pages["hostile"])
    everything: List[str] = []
    for _ in range(3):
        everything += [row[0] for row in browser.rows(TABLE)]
        if not browser.run("return document.querySelectorAll('.pager button')[1].disabled"):
            browser.click(".pager button:last-child")
    for name in MARKUP:
        assert f"/tmp/{text.safe(name)}" in everything or b"/" in name
    browser.run("document.querySelector('#files .button').click()")
    browser.wait("document.querySelector('#dialog canvas')")
    browser.type("#dialog button", ESCAPE)
    for move in range(6):  # over the tiles, so that tips show them, and down into one
        browser.click_at(".where .chart", 20 + 100 * move, 30)
        browser.run("const d = document.getElementById('dialog'); if (d.open) d.close()")
    assert browser.run(
        "return [window.owned, Object.prototype.data, document.querySelectorAll('img, b.x').length]"
    ) == [
        None,
        None,
        0,
    ]
    assert browser.run("return document.scripts.length") == 5  # three of data, the library, the page's own
    assert not browser.run(
        "return /[\\u0000-\\u0008\\u001b\\u202a-\\u202e\\u2066-\\u2069\\u200b]/.test(document.body.innerText)"
    )
    assert browser.complaints() == []
    assert {url for url in browser.requests() if not url.startswith("data:,")} == {pages["hostile"].as_uri()}


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_it_is_accessible(browser: Browser, pages: Dict[str, Path], width: int, dark: bool) -> None:
    """What axe-core knows to judge: contrast, labels, roles, structure; and nothing is wider than the screen."""
    axe = Path(needs.module("axe_core_python", (3, 10)).__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    browser.look(width, 900, dark=dark)
    browser.open(pages["usual"])
    judged: List[Any] = []
    for opening in ("", "document.querySelector('#files .button').click()"):
        if opening:
            browser.run(opening)
            browser.wait("document.querySelector('#dialog canvas')")
        if not judged:
            browser.run(axe)
        judged += browser.run_later(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(found => done("
            "found.violations.map(v => [v.id, v.help, v.nodes.slice(0, 3).map(n => n.html.slice(0, 160))])))"
        )
    assert judged == []
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    browser.look(1280, 900)


def test_the_keyboard_reaches_everything(usual: Browser) -> None:
    """The first stop leads past all others to the files, a directory leads into its list; every control has a name."""
    usual.type("body", TAB)
    assert usual.run("return document.activeElement.textContent") == "Skip to the files"
    usual.type("#where .list tbody tr:first-child button", ENTER)
    assert usual.text(".crumbs [aria-current]") == "db"
    assert usual.run("return document.activeElement.className") == "list"
    nameless = usual.run(
        "return [...document.querySelectorAll('button, a, input, summary')].filter(each => !each.textContent.trim()"
        " && !each.labels?.length).length"
    )
    assert nameless == 0
