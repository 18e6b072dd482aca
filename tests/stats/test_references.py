"""Every test can be cited."""

import pytest

from sphuni.stats import available_tests
from sphuni.stats.references import Reference, references


@pytest.mark.parametrize("name", [info.name for info in available_tests()])
def test_every_reference_has_authors_title_and_year(name):
    entries = references(name)
    assert entries
    for entry in entries:
        assert entry.authors, entry.text
        assert entry.title, entry.text
        assert entry.year is not None
        assert 1900 < entry.year < 2030
        assert entry.key.endswith(str(entry.year))
        assert entry.bibtex().startswith("@")
        assert entry.bibtex().count("{") == entry.bibtex().count("}")


def test_pages_that_look_like_years_are_not_the_year():
    entry = references("packing")[0]
    assert entry.year == 2013
    assert "eprint = {1306.0256}" in entry.bibtex()
    assert "pages = {1837--1864}" in entry.bibtex()


def test_text_without_a_title_becomes_a_note():
    entry = Reference("Somebody 1999, a talk")
    assert entry.authors == ()
    assert entry.title is None
    assert "note = {Somebody 1999, a talk}" in entry.bibtex()
