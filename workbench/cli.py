"""The `workbench` command: the same verbs as in Python, results on stdout, progress and errors on stderr.

Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted, 143 terminated. This module is the only place of the package
that knows systems and studies.
"""

import functools
import json
import runpy
import shlex
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
import xarray as xr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from workbench.dataset import DatasetError

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Learn multi-well energy landscapes from data, question them, simulate on them.",
)
out = Console(highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
_options = {"debug": False}


class _Terminated(BaseException):
    """SIGTERM arrived."""


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter; may be repeated.")
]
Seed = Annotated[int | None, typer.Option(help="Whole number from which all randomness comes.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes for independent fits, one thread each.")]


def main() -> None:
    """Run the command line."""

    def terminate(number: int, frame: object) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, terminate)
    warnings.showwarning = lambda message, *_, **__: err.print(f"warning: {message}", style="yellow")
    app()


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what can go wrong into one message and an exit code."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except (KeyboardInterrupt, _Terminated) as stop:
            interrupted = isinstance(stop, KeyboardInterrupt)
            err.print("interrupted" if interrupted else "terminated", style="bold red")
            raise typer.Exit(130 if interrupted else 143) from None
        except typer.Exit:
            raise
        except Exception as error:
            if _options["debug"]:
                traceback.print_exc()
            text = error.args[0] if isinstance(error, KeyError) and error.args else error
            err.print(Text.assemble(("error: ", "bold red"), str(text)))
            wrong_use = isinstance(error, KeyError | ValueError) and not isinstance(error, DatasetError)
            raise typer.Exit(2 if wrong_use else 1) from None

    return run


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(version("multiwell-workbench"))
        raise typer.Exit


@app.callback()
@guarded
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    plugin: Annotated[
        list[Path] | None, typer.Option(help="A file of yours that registers systems or studies.")
    ] = None,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Learn multi-well energy landscapes from data, question them, simulate on them."""
    _options["debug"] = debug
    for file in plugin or ():
        if not file.is_file():
            raise ValueError(f"there is no plug-in file {file}")
        runpy.run_path(str(file), run_name=file.stem)


@app.command("systems")
@guarded
def list_systems(as_json: Json = False) -> None:
    """List the systems and their parameters."""
    import systems

    _list("system", systems.SYSTEMS, as_json)


@app.command("studies")
@guarded
def list_studies(as_json: Json = False) -> None:
    """List the studies and their settings."""
    import studies

    _list("study", studies.STUDIES, as_json)


@app.command()
@guarded
def generate(
    system: Annotated[str, typer.Argument(help="Name of a system, see `workbench systems`.")],
    kind: Annotated[
        Literal["trajectories", "points", "paths"] | None, typer.Option(help="Default: trajectories, or paths.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many.")] = 40,
    settings: Settings = None,
    seed: Seed = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File; default SYSTEM-KIND.nc.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Generate data from a system and save them."""
    import systems
    from workbench import files

    model = systems.get(system, **_parsed(settings))
    kind = kind or ("paths" if hasattr(model, "paths") else "trajectories")
    if not hasattr(model, kind):
        raise ValueError(f"{system} generates no {kind}; choose another --kind")
    target = files.check_target(output or Path(f"{system}-{kind}.nc"), overwrite=overwrite)
    data = getattr(model, kind)(count, seed=seed)
    files.save(
        target, data=data, overwrite=overwrite, attrs={"title": f"{kind} of {system}", "seed": data.attrs["seed"]}
    )
    _print(
        {"file": str(target), "sizes": {str(k): v for k, v in data.sizes.items()}, "seed": data.attrs["seed"]}, as_json
    )


@app.command()
@guarded
def run(
    study: Annotated[str, typer.Argument(help="Name of a study, see `workbench studies`.")],
    preset: Annotated[str, typer.Option(help="Sizes of the study: quick or paper.")] = "quick",
    settings: Settings = None,
    seed: Seed = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File; default results/STUDY.nc.")] = None,
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints of an interrupted run.")] = False,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Run a study, save its file, draw its figures, and print its numbers."""
    import studies

    question = studies.get(study, preset=preset, **_parsed(settings))
    target = _target(output, study)
    try:
        path = question.run(target, seed=seed, overwrite=overwrite, resume=resume, workers=workers)
    except (KeyboardInterrupt, _Terminated):
        if any(target.with_name(f"{target.name}.checkpoints").glob("*.ckpt")):
            command = [argument for argument in sys.argv[1:] if argument != "--resume"]
            err.print(f"to go on: workbench {shlex.join([*command, '--resume'])}")
        raise
    _report(path, studies.draw(path), as_json)


@app.command()
@guarded
def info(file: Path, as_json: Json = False) -> None:
    """Say what a result file holds and where it came from."""
    from workbench import files

    tree = files.read(file)
    groups = {node.path: {str(k): v for k, v in node.to_dataset(inherit=False).sizes.items()} for node in tree.subtree}
    attrs = _plain(tree.attrs)
    origin = {node.path: _plain(node.attrs) for node in tree.subtree if "system" in node.attrs}
    if as_json:
        out.print_json(json.dumps({"attributes": attrs, "data": origin, "groups": groups, "numbers": _numbers(tree)}))
        return
    for name, value in attrs.items():
        out.print(Text.assemble((f"{name:16}", "bold"), str(value)))
    for path, entry in origin.items():
        out.print(Text.assemble((f"{path:16}", "bold"), f"{entry['system']} {entry.get('parameters', '')}"))
    table = Table("group", "sizes", box=None, pad_edge=False)
    for path, sizes in groups.items():
        table.add_row(path, ", ".join(f"{k} {v}" for k, v in sizes.items()))
    out.print(table)
    _table(_numbers(tree))


@app.command()
@guarded
def plot(
    file: Path,
    folder: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the figures; default beside the file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the figures of a study's file, from the file alone."""
    import studies

    _print({"figures": [str(path) for path in studies.draw(file, folder)]}, as_json)


@app.command()
@guarded
def rerun(
    file: Path,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Keep the new file here.")] = None,
    overwrite: Overwrite = False,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Run the study of a file again, with its settings and seed, and compare every number with the file's."""
    from studies import Study
    from workbench import files

    before = files.read(file)
    study, seed = Study.from_tree(before)
    with tempfile.TemporaryDirectory() as folder:
        target = files.check_target(output or Path(folder) / "rerun.nc", overwrite=overwrite)
        try:
            after = files.read(study.run(target, seed=seed, overwrite=overwrite, workers=workers))
        finally:
            shutil.rmtree(target.with_name(f"{target.name}.checkpoints"), ignore_errors=True)
    compared, different = _differences(before, after)
    worst = sorted(different.items(), key=lambda item: -item[1])[:10]
    verdict = "equal to the last bit" if not different else f"{len(different)} of {compared} variables differ"
    _print({"verdict": verdict, "compared": compared, "largest_differences": dict(worst)}, as_json)
    if different:
        err.print("another machine, thread count or library version changes last digits, and a long fit magnifies them")
        raise typer.Exit(1)


def _differences(before: xr.DataTree, after: xr.DataTree) -> tuple[int, dict[str, float]]:
    """Return the number of variables and, for each that is not equal to the last bit, its largest difference."""
    compared, different = 0, {}
    mine, theirs = (_variables(tree) for tree in (before, after))
    for path in sorted(mine.keys() | theirs.keys()):
        compared += 1
        one, other = mine.get(path), theirs.get(path)
        if one is not None and other is not None and (one.equals(other) or "wall_clock" in one.attrs):
            continue
        different[path] = np.inf
        if one is not None and other is not None and one.shape == other.shape and one.dtype.kind == "f":
            gap = np.abs(one.values - other.values)
            same = (one.values == other.values) | (np.isnan(one.values) & np.isnan(other.values))
            different[path] = float(np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap)).max())
    return compared, different


def _variables(tree: xr.DataTree) -> dict[str, xr.Variable]:
    return {
        f"{node.path}/{name}".replace("//", "/"): variable
        for node in tree.subtree
        for name, variable in node.to_dataset().variables.items()
    }


def _plain(attrs: Any) -> dict[str, Any]:
    """Return attributes as plain values, those named ..._json decoded and without that ending."""
    plain = {str(k): v.item() if isinstance(v, np.generic) else v for k, v in attrs.items()}
    return {k.removesuffix("_json"): json.loads(v) if k.endswith("_json") else v for k, v in plain.items()}


def _target(output: Path | None, study: str) -> Path:
    if output is None:
        Path("results").mkdir(exist_ok=True)
    return output or Path("results") / f"{study}.nc"


def _parsed(settings: list[str] | None) -> dict[str, Any]:
    """Return NAME=VALUE pairs with values read as JSON where they are, and 8,8,8 as a list."""
    parsed = {}
    for text in settings or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set expects NAME=VALUE, got {text!r}")
        parsed[name.strip()] = value
        for candidate in (value, f"[{value}]"):
            with suppress(json.JSONDecodeError):
                parsed[name.strip()] = json.loads(candidate)
                break
    return parsed


def _list(kind: str, registry: Any, as_json: bool) -> None:
    entries = {}
    for name in registry.names():
        cls = registry[name]
        entries[name] = {"summary": (cls.__doc__ or "").partition("\n")[0], "parameters": cls.declared()}
        if hasattr(cls, "presets"):
            entries[name]["presets"] = {preset: dict(changes) for preset, changes in cls.presets.items()}
    if as_json:
        out.print_json(json.dumps(entries))
        return
    for name, entry in entries.items():
        out.print(Text.assemble((name, "bold"), f"  {entry['summary']}"))
        table = Table(box=None, padding=(0, 2))
        for column in ("", "parameter", "default", "unit", "meaning"):
            table.add_column(column)
        for label, p in entry["parameters"].items():
            table.add_row("", label, str(p["default"]), p.get("unit", "1"), p["meaning"])
        out.print(table)
        for preset, changes in entry.get("presets", {}).items():
            text = ", ".join(f"{k}={v}" for k, v in changes.items()) or "the defaults"
            out.print(Text.assemble("  preset ", (preset, "bold"), f": {text}"))
    if not entries:
        out.print(f"no {kind} is known")


def _numbers(tree: xr.DataTree) -> list[dict[str, Any]]:
    if "analysis" not in tree.children or "numbers" not in tree["analysis"].children:
        return []
    numbers = tree["analysis/numbers"].to_dataset()
    rows = []
    for k, name in enumerate(numbers["quantity"].values):
        entry = {key: float(numbers[key].values[k]) for key in ("value", "at_most", "at_least")}
        missed = not (np.isfinite(entry["value"]) or np.isnan(entry["at_most"]) and np.isnan(entry["at_least"]))
        missed = missed or entry["value"] > entry["at_most"] or entry["value"] < entry["at_least"]
        plain = {key: value if np.isfinite(value) else None for key, value in entry.items()}
        rows.append({"quantity": str(name), **plain, "met": not missed, "meaning": str(numbers["meaning"].values[k])})
    return rows


def _table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    table = Table("quantity", "value", "bound", "", "meaning", box=None, pad_edge=False)
    for row in rows:
        low, high = row["at_least"], row["at_most"]
        bounds = [f"{sign} {limit:.4g}" for sign, limit in (("≥", low), ("≤", high)) if limit is not None]
        bound = f"= {low:.4g}" if bounds and low == high else ", ".join(bounds)
        value = "none" if row["value"] is None else f"{row['value']:.4g}"
        table.add_row(
            row["quantity"], value, bound, ("" if not bounds else "met" if row["met"] else "MISSED"), row["meaning"]
        )
    out.print(table)


def _report(path: Path, figures: list[Path], as_json: bool) -> None:
    from workbench import files

    tree = files.read(path)
    rows = _numbers(tree)
    elapsed = float(tree.attrs["elapsed_seconds"])
    if as_json:
        _print(
            {"file": str(path), "figures": [str(f) for f in figures], "elapsed_seconds": elapsed, "numbers": rows}, True
        )
        return
    _table(rows)
    missed = [row["quantity"] for row in rows if not row["met"]]
    if missed:
        err.print(f"bounds missed, which are meant for the preset quick: {', '.join(missed)}", style="bold red")
    out.print(f"took     {elapsed:.1f} s, without imports and figures")
    out.print(f"file     {path}")
    for figure in figures:
        out.print(f"figure   {figure}")


def _print(entries: dict[str, Any], as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps(entries, default=str))
        return
    for name, value in entries.items():
        lines = (
            value
            if isinstance(value, list)
            else [f"{k}: {v}" for k, v in value.items()]
            if isinstance(value, dict)
            else [value]
        )
        for k, line in enumerate(lines):
            out.print(Text.assemble((f"{name if k == 0 else '':20}", "bold"), str(line)))


if __name__ == "__main__":
    main()
