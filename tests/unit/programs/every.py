"""A test for every form of the programs; those that are not at an end of what there is are slow ones."""

from __future__ import annotations

import pytest

from tests.unit.programs.forms import FORMS

QUICK = [("x86_64", "named", (6, 2)), ("aarch64", "all", (4, 14))]  # of each attachment, both ends of the product
_MARKED = {
    form: form if (form.machine, form.who, form.kernel) in QUICK else pytest.param(form, marks=pytest.mark.slow)
    for form in FORMS
}
every_form = pytest.mark.parametrize("form", _MARKED.values(), ids=map(str, FORMS))
every_straight_form = pytest.mark.parametrize(
    "form",
    [marked for form, marked in _MARKED.items() if form.kernel < (5, 3)],
    ids=[str(form) for form in FORMS if form.kernel < (5, 3)],
)
"""For kernels that take no loop."""
