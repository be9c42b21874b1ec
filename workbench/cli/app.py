"""The command `workbench`: results on stdout, progress and errors on stderr.

Exit codes: 0 success, 1 failure, 2 incorrect usage, 130 interrupted, 143 terminated. The modules of `workbench.cli` are
the only ones in this package that import systems and studies.
"""

import signal
import warnings
from typing import Annotated

import typer

from workbench import plugins
from workbench.cli import console, fit_commands, study_commands
from workbench.cli.console import Terminated, guarded, with_plugins
from workbench.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Learn multi-well energy landscapes from data, analyse them and simulate on them.",
)


def main() -> None:
    """Run the command line interface."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    warnings.showwarning = lambda message, *_, **__: console.err.print(
        f"warning: {console.as_flags(str(message))}", style="yellow"
    )
    app()


def _print_version(requested: bool) -> None:
    """Print the version and exit, if requested."""
    if requested:
        console.out.print(__version__)
        raise typer.Exit


@app.callback()
@guarded
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
    plugin: console.Plugin = None,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Learn multi-well energy landscapes from data, analyse them and simulate on them."""
    console.flags["debug"] = debug
    for file in plugin or ():
        plugins.load(file)


for name, command in (study_commands.COMMANDS | fit_commands.COMMANDS).items():
    app.command(name)(guarded(with_plugins(command)))


if __name__ == "__main__":
    main()
