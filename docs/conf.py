"""Sphinx: Markdown pages (MyST), the furo theme, a reference made of the docstrings."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "prunella"
author = copyright = "The prunella authors"
version = release = installed_version("prunella")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "prunella"

# Single backticks in docstrings are code, as in Markdown.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
