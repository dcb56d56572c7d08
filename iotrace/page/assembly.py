"""The page: its parts in one file, with a policy that lets nothing else run, load or be sent.

Scripts and styles are named in the policy by their hashes. What comes from profiles stands in elements of the type
application/json, which a browser does not run, with every character escaped that could end one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pkgutil
import re
from typing import BinaryIO, Dict, Iterator, Sequence

from iotrace.errors import Failure
from iotrace.page.document import Document

MARK = b"<!doctype html>\n<!-- a page of iotrace html -->\n"
"""How every page begins."""

STYLES: Sequence[str] = ("page.css", "parts.css")
SCRIPTS: Sequence[str] = (
    "format.js",
    "elements.js",
    "data.js",
    "charts.js",
    "histograms.js",
    "summary.js",
    "treemap.js",
    "moments.js",
    "details.js",
    "table.js",
    "main.js",
)

_NOT_IN_SCRIPTS = re.compile(r"</script|<!--|<script", re.IGNORECASE)
_ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def data(value: object) -> str:
    """A value as JSON that no parser of markup can take for anything else."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).translate(_ESCAPED)


def asset(name: str) -> str:
    """The text of a file of the page, wherever the package is: in a directory or in an archive."""
    raw = pkgutil.get_data(__package__, f"assets/{name}")
    if raw is None:
        raise Failure(f"iotrace is not complete: its package has no page/assets/{name}")
    return raw.decode("utf-8")


def _inline(script: str) -> str:
    """A script of ours or of the library, so that it ends where its element does."""
    return _NOT_IN_SCRIPTS.sub(lambda match: "\\x3c" + match.group()[1:], script)


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") + "'"


def policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """The Content-Security-Policy for these inline styles and scripts."""
    allowed: Dict[str, str] = {
        "default-src": "'none'",
        "script-src": " ".join(map(_hash, scripts)),
        "style-src": " ".join(map(_hash, styles)),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in allowed.items())


def _parts(document: Document, library: str) -> Iterator[str]:
    style = "\n".join(map(asset, STYLES))
    own = '"use strict";\n(() => {\n' + "\n".join(map(asset, SCRIPTS)) + "\n})();\n"
    scripts = [_inline(library), _inline(own)]
    yield asset("page.html").replace("$policy", policy([style], scripts)).replace("$style", style)
    for name, value in (
        ("summary", document.summary),
        ("listing", document.listing),
        ("details", document.details),
    ):
        yield f'<script type="application/json" id="data-{name}">{data(value)}</script>\n'
    for script in scripts:
        yield f"<script>{script}</script>\n"
    yield "</body>\n</html>\n"


def write(stream: BinaryIO, document: Document, library: str) -> None:
    """Write the page."""
    stream.write(MARK)
    for part in _parts(document, library):
        stream.write(part.encode("utf-8"))
