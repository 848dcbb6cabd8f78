"""What Sphinx is told of the site; `build.py` stages the pages and calls it."""

import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

sys.path.insert(0, str(Path(__file__).parent))  # where the extensions of our own are

project = "Inference Workbench"
author = "The Inference Workbench developers"
copyright = author  # noqa: A001 - Sphinx's name
version = release = installed("inference-workbench")

extensions = ["explorable", "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests have executed the notebooks
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # it would be loaded from another host

default_role = "py:obj"  # single backticks in docstrings are code, and links where they name ours
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
add_module_names = False
toc_object_entries = False  # a table heads each page
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "Inference Workbench"
html_static_path = ["_static"]
html_css_files, html_js_files = ["site.css"], ["site.js"]
html_show_sphinx = html_copy_source = html_show_sourcelink = False
html_use_index = True
html_show_search_summary = False  # it reads pages, which a browser refuses in a folder
pygments_style, pygments_dark_style = "a11y-light", "a11y-dark"
templates_path: list[str] = []


def shorten(*told: Any) -> tuple[str, str] | None:  # noqa: ANN401 - as Sphinx calls it
    """Return signature and what is returned, with NumPy's union for arrays under its name."""
    signature, returned = told[-2:]
    if signature is None:  # it has none
        return None
    union = stringify_annotation(ArrayLike, "smart")
    return signature.replace(union, "ArrayLike"), (returned or "").replace(union, "ArrayLike")


def setup(app: Sphinx) -> None:
    """Have signatures shortened."""
    app.connect("autodoc-process-signature", shorten)
