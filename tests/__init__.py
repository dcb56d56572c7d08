"""The tests. What several of them share is imported as `tests.apps`, `tests.vm`, from the root of the checkout."""
