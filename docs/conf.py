"""Sphinx configuration: `make docs` builds the site into build/docs."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "bayesxs"
author = "bayesxs developers"
copyright = f"{author}, BSD-3-Clause"
release = version = installed("bayesxs")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "reference",
]
# Docstrings write code between single backticks; quotes and dashes stay as they are typed
default_role = "code"
smartquotes = False
exclude_patterns = ["_ext"]

# Notebooks are shown with the outputs that they hold; the tests execute them
nb_execution_mode = "off"
nb_merge_streams = True

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"

# Every reference must lead somewhere, but for names of other packages: the build needs no network
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!bayesxs\.).*")]

html_theme = "furo"
html_title = f"bayesxs {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
