"""Commands for systems and studies: list, generate, run, plot, rerun, new."""

import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from workbench.cli import console
from workbench.cli.console import Json, Output, Overwrite, Seed, Settings, Terminated, Workers, parsed, plain, show
from workbench.files.comparison import differences

__all__ = ["COMMANDS"]


def list_systems(as_json: Json = False) -> None:
    """List the systems and their parameters."""
    import systems

    _list("system", systems.SYSTEMS, as_json)


def list_studies(as_json: Json = False) -> None:
    """List the studies and their settings."""
    import studies

    _list("study", studies.STUDIES, as_json)


def generate(
    system: Annotated[str, typer.Argument(help="Name of a system, see `workbench systems`.")],
    kind: Annotated[
        Literal["trajectories", "points", "paths"] | None,
        typer.Option(help="Kind of data; default: trajectories, or paths for materials."),
    ] = None,
    count: Annotated[int, typer.Option(help="Number of trajectories, points or paths.")] = 40,
    settings: Settings = None,
    seed: Seed = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Output file; default: SYSTEM-KIND.nc.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Generate data from a system and save them."""
    import systems
    from workbench.files import results

    _look_up(systems.SYSTEMS, system)
    model = systems.get(system, **parsed(settings))
    kind = kind or ("paths" if hasattr(model, "paths") else "trajectories")
    if not hasattr(model, kind):
        raise ValueError(f"{system} generates no {kind}; choose another --kind")
    target = results.check_target(output or Path(f"{system}-{kind}.nc"), overwrite=overwrite)
    data = getattr(model, kind)(count, seed=seed)
    results.save(
        target, data=data, overwrite=overwrite, attrs={"title": f"{kind} of {system}", "seed": data.attrs["seed"]}
    )
    show(
        {"file": str(target), "sizes": {str(k): v for k, v in data.sizes.items()}, "seed": data.attrs["seed"]}, as_json
    )


def run(
    study: Annotated[str, typer.Argument(help="Name of a study, see `workbench studies`.")],
    preset: Annotated[str, typer.Option(help="Preset of the settings, such as quick or paper.")] = "quick",
    settings: Settings = None,
    seed: Seed = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Output file; default: results/STUDY.nc.")
    ] = None,
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run from its checkpoints.")] = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Run a study, save its results, draw its figures and print its metrics."""
    import studies

    _look_up(studies.STUDIES, study)
    configured = studies.get(study, preset=preset, **parsed(settings))
    target = _target(output, study)
    try:
        path = configured.run(target, seed=seed, overwrite=overwrite, resume=resume, workers=workers)
    except (KeyboardInterrupt, Terminated):
        if any(target.with_name(f"{target.name}.checkpoints").glob("*.ckpt")):
            command = [argument for argument in sys.argv[1:] if argument != "--resume"]
            console.err.print(f"to resume: workbench {shlex.join([*command, '--resume'])}")
        raise
    _report(path, studies.draw(path), as_json)


def info(file: Path, as_json: Json = False) -> None:
    """Show the contents and the provenance of a result file."""
    from studies.metrics import judged
    from workbench.cli.tables import metrics_table
    from workbench.files import results

    tree = results.read(file)
    rows = judged(tree)
    groups = {node.path: {str(k): v for k, v in node.to_dataset(inherit=False).sizes.items()} for node in tree.subtree}
    attrs = plain(tree.attrs)
    origin = {node.path: plain(node.attrs) for node in tree.subtree if "system" in node.attrs}
    if as_json:
        console.out.print_json(json.dumps({"attributes": attrs, "data": origin, "groups": groups, "metrics": rows}))
        return
    for name, value in attrs.items():
        console.out.print(Text.assemble((f"{name:16}", "bold"), str(value)))
    for path, entry in origin.items():
        console.out.print(Text.assemble((f"{path:16}", "bold"), f"{entry['system']} {entry.get('parameters', '')}"))
    table = Table("group", "sizes", box=None, pad_edge=False)
    for path, sizes in groups.items():
        table.add_row(path, ", ".join(f"{k} {v}" for k, v in sizes.items()))
    console.out.print(table)
    if rows:
        console.out.print(metrics_table(rows))


def plot(
    file: Path,
    folder: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the figures; default: that of the file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the figures of a study, or a landscape in one or two dimensions, or else the predictions of a fit."""
    import studies
    from workbench.files import results

    tree = results.read(file)
    drawable = "fits" in tree.children or {"landscape", "data"} <= set(tree.children)
    if "study" not in tree.attrs and drawable:
        from workbench import plot as drawing
        from workbench.overview import overview

        what = "landscape" if "landscape" in tree.children else "predictions"
        target = (folder or file.parent) / f"{file.stem}-{what}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with drawing.style():
            overview(tree).savefig(target, dpi=200)
        show({"figures": [str(target)]}, as_json)
        return
    show({"figures": [str(path) for path in studies.draw(file, folder)]}, as_json)


def rerun(
    file: Path,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Output file; default: none is kept.")] = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Repeat the study of a result file with the same settings and seed, and compare all values bitwise."""
    from studies import Study
    from workbench.files import results

    before = results.read(file)
    study, seed = Study.from_tree(before)
    with tempfile.TemporaryDirectory() as folder:
        target = results.check_target(output or Path(folder) / "rerun.nc", overwrite=overwrite)
        try:
            after = results.read(study.run(target, seed=seed, overwrite=overwrite, workers=workers))
        finally:
            shutil.rmtree(target.with_name(f"{target.name}.checkpoints"), ignore_errors=True)
    compared, different = differences(before, after)
    worst = sorted(different.items(), key=lambda item: -item[1])[:10]
    verdict = "equal to the last bit" if not different else f"{len(different)} of {compared} variables differ"
    show({"verdict": verdict, "compared": compared, "largest_differences": dict(worst)}, as_json)
    if different:
        console.err.print(
            "another platform, thread count or library version changes the last digits, which long fits amplify"
        )
        raise typer.Exit(1)


def new(
    kind: Annotated[Literal["system", "study"], typer.Argument(help="Kind of file.")],
    name: Annotated[str, typer.Argument(help="Name of the system or study, such as double_well.")],
    output: Output = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a template of a system or study that runs unchanged."""
    import studies
    import systems
    from workbench.cli.starters import write_starter

    registry: Any = systems.SYSTEMS if kind == "system" else studies.STUDIES
    if name in registry.names():
        raise ValueError(f"there is already a {kind} {name}; choose another name")
    path = write_starter(kind, name, output, overwrite=overwrite)
    verb = f"generate {name}" if kind == "system" else f"run {name}"
    show({"file": str(path), "try": f"workbench --plugin {path} {verb}"}, as_json)


COMMANDS: dict[str, Callable[..., None]] = {
    "systems": list_systems,
    "studies": list_studies,
    "generate": generate,
    "run": run,
    "info": info,
    "plot": plot,
    "rerun": rerun,
    "new": new,
}


def _look_up(registry: Any, name: str) -> None:
    """Raise `KeyError` for an unknown name, with a hint how to load a plug-in."""
    try:
        registry[name]
    except KeyError as error:
        raise KeyError(f"{error.args[0]}. To load your own: workbench --plugin FILE.py …") from None


def _target(output: Path | None, study: str) -> Path:
    """Return the output file; the default folder is created."""
    if output is None:
        Path("results").mkdir(exist_ok=True)
    return output or Path("results") / f"{study}.nc"


def _list(kind: str, registry: Any, as_json: bool) -> None:
    """Print all systems or studies with their parameters and presets."""
    entries = {}
    for name in registry.names():
        cls = registry[name]
        entries[name] = {"summary": (cls.__doc__ or "").partition("\n")[0], "parameters": cls.declared()}
        if hasattr(cls, "presets"):
            entries[name]["presets"] = {preset: dict(changes) for preset, changes in cls.presets.items()}
    if as_json:
        console.out.print_json(json.dumps(entries))
        return
    for name, entry in entries.items():
        console.out.print(Text.assemble((name, "bold"), f"  {entry['summary']}"))
        table = Table(box=None, padding=(0, 2))
        for column in ("", "parameter", "default", "unit", "meaning"):
            table.add_column(column)
        for label, p in entry["parameters"].items():
            table.add_row("", label, str(p["default"]), p.get("unit", "1"), p["meaning"])
        console.out.print(table)
        for preset, changes in entry.get("presets", {}).items():
            text = ", ".join(f"{k}={v}" for k, v in changes.items()) or "the defaults"
            console.out.print(Text.assemble("  preset ", (preset, "bold"), f": {text}"))
    if not entries:
        console.out.print(f"no {kind} is registered")


def _report(path: Path, figures: list[Path], as_json: bool) -> None:
    """Print metrics, elapsed time, file and figures of a run."""
    from studies.metrics import judged
    from workbench.cli.tables import metrics_table
    from workbench.files import results

    tree = results.read(path)
    rows = judged(tree)
    elapsed = float(tree.attrs["elapsed_seconds"])
    if as_json:
        show(
            {"file": str(path), "figures": [str(f) for f in figures], "elapsed_seconds": elapsed, "metrics": rows}, True
        )
        return
    if rows:
        console.out.print(metrics_table(rows))
    missed = [row["quantity"] for row in rows if not row["met"]]
    if missed:
        console.err.print(f"outside the bounds, which hold for the preset quick: {', '.join(missed)}", style="bold red")
    console.out.print(f"elapsed  {elapsed:.1f} s, excluding imports and figures")
    console.out.print(f"file     {path}")
    for figure in figures:
        console.out.print(f"figure   {figure}")
