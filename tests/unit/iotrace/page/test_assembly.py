"""That what comes from a profile cannot leave its element, and the policy names all that may run."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from iotrace.page import assembly
from iotrace.page.document import Document
from tests.unit.iotrace.page.samples import MARKUP, data_of

LIBRARY = "window.vegaEmbed = '</script><!--';"


def page(summary: object = None) -> str:
    out = io.BytesIO()
    assembly.write(out, Document({"x": summary}, "", {}), LIBRARY)
    return out.getvalue().decode()


def hashed(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_data_is_what_it_was_and_no_markup(value: object) -> None:
    text = assembly.data(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029") and text.isascii()


def test_no_name_ends_its_element() -> None:
    names = [name.decode("utf-8", "surrogateescape") for name in MARKUP]
    made = page(names)
    assert data_of(made)["summary"] == {"x": names}
    assert made.count("</script>") == 5  # three of data, two that run


def test_the_policy_has_the_hash_of_each_script_and_style() -> None:
    made = page()
    match = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', made)
    assert match is not None
    policy = dict(part.split(" ", 1) for part in match[1].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in match[1] and "http" not in match[1]
    scripts = re.findall(r"<script>(.*?)</script>", made, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", made, re.DOTALL)
    assert policy["script-src"] == " ".join(f"'sha256-{hashed(script)}'" for script in scripts)
    assert policy["style-src"] == f"'sha256-{hashed(style)}'"
    assert scripts[0] == r"window.vegaEmbed = '\x3c/script>\x3c!--';"  # what it says is the same


def test_the_page_asks_for_nothing() -> None:
    """No address but those of data; no handler, style or link that markup could carry."""
    own = "".join(map(assembly.asset, (*assembly.STYLES, *assembly.SCRIPTS, "page.html")))
    assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", own)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc", own)
    assert not re.search(r"\son[a-z]+=\"|\sstyle=\"", assembly.asset("page.html"))
