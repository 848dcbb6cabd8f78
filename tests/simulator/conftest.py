"""What the tests of the simulator share: event loops are compiled at once."""

import pytest

from workbench import compilation


@pytest.fixture(autouse=True)
def _compiled_at_once(monkeypatch):
    """Have no loop run in plain Python first, so that tests are about what is compiled."""
    monkeypatch.setattr(compilation.BUDGET, "steps", 0)
