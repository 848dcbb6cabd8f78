"""What views need not do in tests."""

import pytest


@pytest.fixture(autouse=True)
def _memory_is_kept(monkeypatch):
    """Look for no garbage after each work: here that goes through millions of objects."""
    monkeypatch.setattr("workbench.widgets.notebook.release_memory", lambda: None)
