"""A test for every form of the programs; those that are not at an end of what there is are slow ones."""

from __future__ import annotations

import pytest

from tests.unit.programs.forms import FORMS

QUICK = {"raw-x86_64-named-direct-6.2", "perf-x86_64-named-direct-4.14", "fentry-x86_64-named-direct-6.2"}
_MARKED = {form: form if str(form) in QUICK else pytest.param(form, marks=pytest.mark.slow) for form in FORMS}
every_form = pytest.mark.parametrize("form", _MARKED.values(), ids=map(str, FORMS))
every_straight_form = pytest.mark.parametrize(
    "form",
    [marked for form, marked in _MARKED.items() if form.kernel < (5, 3)],
    ids=[str(form) for form in FORMS if form.kernel < (5, 3)],
)
"""For kernels that take no loop."""
