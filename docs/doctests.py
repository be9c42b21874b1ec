"""Fences the examples of docstrings, so that Markdown shows them as code: an extension of mkdocstrings' reader."""

import re
from typing import Any

import griffe

__all__ = ["Doctests"]

EXAMPLE = re.compile(r"(^>>> .*\n?(?:.+\n?)*)", flags=re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts every run of lines that begins with `>>>` into a fenced block."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was read."""
        if obj.docstring:
            text = EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", obj.docstring.value)
            obj.docstring.value = text
