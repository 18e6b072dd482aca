"""Fewer simulated sets than users get: the nulls of small layers are not what is tested here."""

import pytest


@pytest.fixture(autouse=True)
def small_tables(monkeypatch):
    monkeypatch.setattr("sphuni.stats._null._MANY", 1_999)
