"""Consoles, options and error handling shared by all commands."""

import functools
import inspect
import json
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.text import Text

from workbench import plugins
from workbench.errors import DatasetError

__all__ = ["Json", "Output", "Overwrite", "Seed", "Settings", "Terminated", "Workers", "guarded", "parsed", "show"]

out = Console(highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
flags = {"debug": False}


class Terminated(BaseException):
    """Raised when SIGTERM is received."""


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(help="Python file with systems, studies, matches or models of your own; may be repeated."),
]
Seed = Annotated[int | None, typer.Option(help="Seed of all random numbers, an integer.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Output file.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Number of processes for independent fits, one thread each; by default the idle cores."),
]


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Convert exceptions of a command into one message and an exit code."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except (KeyboardInterrupt, Terminated) as stop:
            interrupted = isinstance(stop, KeyboardInterrupt)
            err.print("interrupted" if interrupted else "terminated", style="bold red")
            raise typer.Exit(130 if interrupted else 143) from None
        except typer.Exit:
            raise
        except Exception as error:
            if flags["debug"]:
                traceback.print_exc()
            text = error.args[0] if isinstance(error, KeyError) and error.args else error
            err.print(Text.assemble(("error: ", "bold red"), f"{as_flags(str(text))}{_in_plugin(error)}"))
            wrong_use = isinstance(error, KeyError | ValueError) and not isinstance(error, DatasetError)
            raise typer.Exit(2 if wrong_use else 1) from None

    return run


FLAGS = (  # settings in Python and their command-line equivalents
    (
        r"\bmatch=wb\.match\.Density\(wb\.Support\(\{'(\w+)': \((\S+?), (\S+?)\)\}\)\)",
        lambda found: f"--match density --match-set support={found[1]}:{found[2]},{found[3]}",
    ),
    (r"\bmodel=…", lambda found: "--model NAME"),
    (
        r"\b(overwrite|resume|drop_missing|differentiate|bootstrap)=True",
        lambda found: f"--{found[1]}".replace("_", "-"),
    ),
    (r"\btemperature=(…|T\b)", lambda found: "--temperature T"),
    (r"\bname='([^']+)'", lambda found: f"--data {found[1]}"),
    (r"\b(step|within|seed|modes|members)=…", lambda found: f"--{found[1]} …"),
    (r"run the file that defines it, before loading", lambda found: "give the file that defines it, --plugin FILE"),
    (
        r"\bworkbench\.learn\(workbench\.read_data\('(.*?)'\), match=…\)",
        lambda found: f"workbench fit {found[1]} --match …",
    ),
    (r"\bstates=\[(.*?)\]", lambda found: f"--states {found[1]}".replace("'", "").replace(", ", ",")),
)


def as_flags(message: str) -> str:
    """Replace Python settings in a message of the library by command-line options.

    >>> as_flags("a.nc exists; choose another name or pass overwrite=True")
    'a.nc exists; choose another name or pass --overwrite'
    >>> as_flags("fit them first: workbench.learn(workbench.read_data('a.nc'), match=…)")
    'fit them first: workbench fit a.nc --match …'
    """
    for pattern, flag in FLAGS:
        message = re.sub(pattern, flag, message)
    return message


def _in_plugin(error: Exception) -> str:
    """Return where in a plug-in an error occurred, as a suffix of its message, or an empty string."""
    files = {str(path) for path in plugins.LOADED.values()} | {module.__file__ for module in _modules()}
    frames = [at for at in traceback.extract_tb(error.__traceback__) if at.filename in files]
    return f" ({type(error).__name__} in the plug-in {frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _modules() -> list[Any]:
    """Return the modules of all plug-ins."""
    return [sys.modules[name] for name in plugins.LOADED if name in sys.modules]


def with_plugins(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option --plugin to a command, so that it may stand behind the name of the command, too."""
    signature = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def run(*args: Any, plugin: list[Path] | None = None, **options: Any) -> None:
        for file in plugin or ():
            plugins.load(file)
        command(*args, **options)

    option = inspect.Parameter("plugin", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Plugin)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {name: each.annotation for name, each in run.__signature__.parameters.items()}  # type: ignore[attr-defined]
    return run


def parsed(settings: list[str] | None, option: str = "--set") -> dict[str, Any]:
    """Parse NAME=VALUE pairs: values are JSON, lists such as 8,8,8, or else text."""
    parsed = {}
    for text in settings or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{option} expects NAME=VALUE, got {text!r}")
        parsed[name.strip()] = value
        for candidate in (value, f"[{value}]"):
            with suppress(json.JSONDecodeError):
                parsed[name.strip()] = json.loads(candidate)
                break
    return parsed


def plain(attrs: Any) -> dict[str, Any]:
    """Return attributes as plain values; those named …_json are decoded and lose this suffix."""
    values = {str(k): v.item() if isinstance(v, np.generic) else v for k, v in attrs.items()}
    return {k.removesuffix("_json"): json.loads(v) if k.endswith("_json") else v for k, v in values.items()}


def show(entries: dict[str, Any], as_json: bool) -> None:
    """Print names and values, lists on several lines, or everything as one JSON document."""
    if as_json:
        out.print_json(json.dumps(entries, default=str))
        return
    width = max([18, *map(len, entries)]) + 2
    for name, value in entries.items():
        lines = (
            value
            if isinstance(value, list)
            else [f"{k}: {v}" for k, v in value.items()]
            if isinstance(value, dict)
            else [value]
        )
        for k, line in enumerate(lines):
            out.print(Text.assemble(((name if k == 0 else "").ljust(width), "bold"), str(line)))
