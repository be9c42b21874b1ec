"""Prepare docstrings for Markdown: doctests become code, references a list, DOIs links.

An extension of griffe, which reads the docstrings for mkdocstrings. It recognises numpydoc's sections but renders only
doctests inside an Examples section as code, and leaves the References section as it is.
"""

import re
from typing import Any

import griffe

__all__ = ["Docstrings"]

DOCTEST = re.compile(r"^>>> .*\n?(?:.+\n?)*", flags=re.MULTILINE)
EXAMPLES = re.compile(r"^Examples\n-{3,}$", flags=re.MULTILINE)
REFERENCES = re.compile(r"(^References\n-{3,}\n)(.*?)(?=^\w.*\n-{3,}$|\Z)", flags=re.MULTILINE | re.DOTALL)
NEW_REFERENCE = re.compile(r"\n\s*\n|\n(?=- )|(?<=\.)\n(?=[A-Z]\.[ -])")  # blank line, bullet, or initial of an author
DOI = re.compile(r"doi:(10\.\d+/\S*?[\w)])(?=[.,;:]?(?:\s|$))")


class Docstrings(griffe.Extension):
    """Rewrite the docstring of every object that is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Fence doctests outside Examples sections, list references, and link DOIs."""
        if obj.docstring:
            text = obj.docstring.value
            if not EXAMPLES.search(text):
                text = DOCTEST.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)
            text = REFERENCES.sub(lambda found: f"{found[1]}{_listed(found[2])}\n\n", text)
            obj.docstring.value = DOI.sub(r"[doi:\1](<https://doi.org/\1>)", text)


def _listed(references: str) -> str:
    """Return references as a Markdown list, one item each."""
    entries = (" ".join(entry.split()).removeprefix("- ") for entry in NEW_REFERENCE.split(references.strip()))
    return "\n".join(f"- {entry}" for entry in entries if entry)
