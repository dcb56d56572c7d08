"""What stands at the top of the page: the run, what was read, written and synced, what to do, what is not counted."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence

from iotrace import text
from iotrace.findings.engine import Finding
from iotrace.page.words import duration, micro, name, words
from iotrace.profile.activity import Activity, Transfers
from iotrace.profile.latencies import Latencies
from iotrace.profile.metrics import Header
from iotrace.profile.runs import repeated, traced_ns
from iotrace.release import version
from iotrace.views import front
from iotrace.views.header import losses, not_opened, overhead, started, system

_MOST_KINDS = 100  # of coverage


def _figure(label: str, value: str, meaning: str) -> Dict[str, object]:
    return {"label": label, "value": value, "meaning": meaning}


def _latencies(found: Latencies, of: str) -> List[Dict[str, object]]:
    median, late = found.quantile(0.5), found.quantile(0.99)
    if median is None or late is None:
        return []
    parts = [["median", duration(median)], ["p99", duration(late)], ["slowest", duration(found.most or None)]]
    return [{"label": "latency", "parts": parts, "meaning": f"half, 99 of 100, and all of the {of} took no longer"}]


def _order_and_sizes(found: Transfers) -> List[Dict[str, object]]:
    made = []
    if found.moved:
        what = "they did not go on" if found.random >= 0.5 else "they went on"
        made.append(_figure("order", front.order(found), f"{what} where the call before had ended"))
    sizes = front.sizes(found.sizes)
    if sizes:
        shown = sizes.replace(" x", " \u00d7").replace(" ", "\u00a0").replace("%\u00a0", "%, ")
        made.append(_figure("sizes", shown, "asked for most, with their share of the calls"))
    return made


def _read(found: Transfers) -> Dict[str, object]:
    figures = _order_and_sizes(found)
    if found.storage_bytes:
        share = text.share(found.from_storage)
        figures.append(_figure("storage", share, "of the bytes read; memory had the rest"))
    return _card("read", "Read", found.bytes, found.calls, figures + _latencies(found.latencies, "reads"))


def _card(key: str, title: str, moved: int, calls: int, figures: List[Dict[str, object]]) -> Dict[str, object]:
    what = text.counted(calls, "call") if calls else "nothing"
    return {"key": key, "title": title, "value": text.size(moved), "beside": what, "figures": figures}


def _synced(whole: Activity) -> Dict[str, object]:
    found = whole.syncs
    figures = []
    if found.calls:
        each = text.size(round(found.bytes / found.calls))
        figures.append(_figure("each", each, "bytes that a sync made durable"))
    if found.unsynced:
        figures.append(_figure("unsynced", text.size(found.unsynced), "written since the last sync of a file"))
    return _card("synced", "Synced", found.bytes, found.calls, figures + _latencies(found.latencies, "syncs"))


def _files(whole: Activity, files: int) -> Dict[str, object]:
    figures = [
        _figure("time", duration(whole.busy_ns), "that all calls took, over all threads"),
        _figure("opens", text.number(whole.opens), "successful ones, of every kind"),
        _figure("failed", text.number(sum(whole.errors.values())), "calls on them that returned an error"),
    ]
    if whole.mapped:
        figures.append(_figure("mapped", text.number(whole.mapped), "whose memory mappings are in no figure"))
    calls = text.counted(sum(whole.calls.values()), "call")
    return {"key": "files", "title": "Files", "value": f"{files:,}", "beside": calls, "figures": figures}


def cards(whole: Activity, files: int) -> List[Dict[str, object]]:
    """What was read, written and synced, and of how many files, as on the first screen of a report."""
    written = whole.written
    figures = _order_and_sizes(written) + _latencies(written.latencies, "writes")
    return [
        _read(whole.read),
        _card("written", "Written", written.bytes, written.calls, figures),
        _synced(whole),
        _files(whole, files),
    ]


def found(findings: Sequence[Finding]) -> List[Dict[str, object]]:
    """Findings with what to do, the most severe first."""
    return [
        {
            "rule": each.rule.name,
            "severity": each.severity.value,
            "sentence": micro(words(each.sentence)),
            "advice": each.rule.advice,
            "disproof": each.rule.disproof,
            "files": [name(path) for path in each.worst],
            "more": each.files - len(each.worst),
        }
        for each in findings
    ]


def run(header: Header, names: Sequence[str], whole: Activity) -> Dict[str, object]:
    """What was traced, and how complete that is."""
    lost = losses(header)
    return {
        "subject": words(front.subject(header)),
        "profiles": [words(each, 300) for each in names[:20]],
        "where": words(front.place(header)),
        "when": started(header),
        "took": duration(traced_ns(header.runs)),
        "complete": lost is None,
        "completeness": words(front.completeness(header, whole)),
        "warnings": [words(each) for each in (lost, repeated(header.runs)) if each],
        "errors": [words(each) for each in front.errors(header, whole)],
        "version": version(),
    }


def about(header: Header) -> Dict[str, object]:
    """How it was traced, what that cost, and what is not seen."""
    filters = ", ".join(f"{key}: {value}" for key, value in header.filters.items())
    facts: List[Optional[Dict[str, object]]] = [
        _figure("system", words(system(header)), "that was traced"),
        _figure("attached by", words(header.attach or "unknown means"), "how the programs are called"),
        _figure("asked for", words(filters), "what was to be traced") if filters else None,
        _figure("cost", micro(words(overhead(header.overhead))), "of tracing, as measured")
        if header.overhead
        else None,
        _figure("not opened", words(not_opened(header.failed_opens)), "paths that opens failed on, the most frequent")
        if header.failed_opens
        else None,
        _figure("written by", words(f"iotrace {header.version}"), "which made the profile"),
    ]
    lost = [[words(what, 200), count] for what, count in list(header.lost.items())[:_MOST_KINDS]]
    coverage = [[words(what, 200), words(how, 1000)] for what, how in list(header.coverage.items())[:_MOST_KINDS]]
    return {"facts": [each for each in facts if each], "coverage": coverage, "lost": lost}
