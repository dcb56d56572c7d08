"""A test for every form of the programs; those that are not at an end of what there is are slow ones."""

from __future__ import annotations

import pytest

from tests.unit.programs.forms import FORMS

QUICK = {
    "light-x86_64-named-direct-6.2",
    "raw-x86_64-named-direct-6.2",
    "perf-x86_64-named-direct-4.14",
    "fentry-x86_64-named-direct-6.2",
}
_MARKED = {form: form if str(form) in QUICK else pytest.param(form, marks=pytest.mark.slow) for form in FORMS}
ENDS = {(6, 2), (4, 14)}  # of the kernels that there are forms for
PINNED = [
    form
    for form in FORMS
    if (form.kernel in ENDS and form[1:4] in {("x86_64", "named", "direct"), ("aarch64", "all", "direct")})
    or (form.kernel in ENDS and form[1:4] == ("x86_64", "apart", "direct"))
    or (form.attach == "raw" and form[1:4] == ("x86_64", "named", "direct"))
    or (form.attach == "perf" and form.kernel in ENDS and form[1:3] == ("x86_64", "named") and form.threads != "direct")
]
"""The forms whose programs the table of listings pins: every value of every axis is in one of them."""
every_pinned_form = pytest.mark.parametrize("form", [_MARKED[form] for form in PINNED], ids=map(str, PINNED))
every_form = pytest.mark.parametrize("form", _MARKED.values(), ids=map(str, FORMS))
every_straight_form = pytest.mark.parametrize(
    "form",
    [marked for form, marked in _MARKED.items() if form.kernel < (5, 3)],
    ids=[str(form) for form in FORMS if form.kernel < (5, 3)],
)
"""For kernels that take no loop."""
