"""Self-contained HTML pages: style, script and data in one file that asks nothing of any network.

A content security policy allows the page's own style and script by their hashes and forbids
everything else, so that no text in the data can add to them. Jinja escapes every value.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

__all__ = ["page_environment", "render_page"]

_SHARED = Path(__file__).parent / "templates"


def page_environment(folder: Path) -> jinja2.Environment:
    """Return the environment of the templates in `folder`, which extend ``page.html``."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(template: jinja2.Template, *, style: Path, script: Path, **values: Any) -> str:
    """Fill a template and put style, script and their hashes around it."""
    css, js = (path.read_text(encoding="utf-8") for path in (style, script))
    text = template.render(
        style=Markup(css),
        script=Markup(js),
        style_hash=_hash(css),
        script_hash=_hash(js),
        **values,
    )
    return text.encode("utf-8", "replace").decode("utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
