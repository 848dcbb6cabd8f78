"""Where commands are tried."""

import pytest


@pytest.fixture
def somewhere(at_home, monkeypatch, tmp_path):
    """The ready-made models, and an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
