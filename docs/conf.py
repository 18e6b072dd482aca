"""Sphinx settings: Markdown pages and the API from the docstrings."""

import sphuni

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
