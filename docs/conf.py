"""Sphinx settings: Markdown pages and the API from the docstrings."""

import sphuni

for room in (sphuni.analysis, sphuni.configurations, sphuni.plots, sphuni.training):
    for name in room.__all__:  # autodoc passes over what a room loads on first use
        setattr(room, name, getattr(room, name))

project = "sphuni"
author = "The sphuni developers"
release = sphuni.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "alabaster"
autodoc_typehints = "none"
nitpicky = False
suppress_warnings = ["ref.python"]  # words of a type that several classes have as a field
