"""Commands for the user's own data: fit, analyse, simulate, validate."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from workbench import parallel
from workbench.cli import console
from workbench.cli.console import Json, Output, Overwrite, Seed, Settings, Workers, parsed, show
from workbench.errors import LandscapeError

if TYPE_CHECKING:
    import xarray as xr


__all__ = ["COMMANDS"]

FitName = Annotated[str | None, typer.Option("--fit", help="Fit of the file to use; default: the last one.")]
States = Annotated[str | None, typer.Option(help="Names of the variables that are the states, if the file has no x.")]
DropMissing = Annotated[bool, typer.Option("--drop-missing", help="Drop samples that are not finite.")]
MatchSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--match-set", metavar="NAME=VALUE", help="Set a parameter of the match, such as support=x1:-3,3; repeatable."
    ),
]
Temperature = Annotated[float | None, typer.Option(help="Temperature T of dx = −∇Ψ dt + √(2T) dW.")]


def fit(
    data: Annotated[Path, typer.Argument(help="netCDF file with data, of any origin.")],
    match: Annotated[
        list[str],
        typer.Option(
            help="potential, gradient, velocity, trajectory, density, stress, or a match of your own (--plugin); "
            "repeat NAME=WEIGHT to match several."
        ),
    ],
    match_settings: MatchSettings = None,
    model: Annotated[
        str, typer.Option(help="Class of the model; one of your own needs --plugin. Default: LSEICNN.")
    ] = "LSEICNN",
    settings: Settings = None,
    modes: Annotated[
        str | None, typer.Option(help="Number of convex modes, or auto to select it; default of an LSEICNN: 3.")
    ] = None,
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the hidden layers; default of an LSEICNN: 8,8,8.")
    ] = None,
    members: Annotated[int, typer.Option(help="Number of independent fits; their spread estimates the error.")] = 1,
    restarts: Annotated[int | None, typer.Option(help="Number of initialisations screened per member.")] = None,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Weight the data randomly for each member (Bayesian bootstrap).")
    ] = False,
    differentiate: Annotated[
        bool, typer.Option("--differentiate", help="Estimate velocities from the trajectories by smoothing splines.")
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Maximum number of optimiser steps.")] = None,
    name: Annotated[str | None, typer.Option("--data", help="Dataset or group of the file to use.")] = None,
    states: States = None,
    drop_missing: DropMissing = False,
    seed: Seed = 0,
    output: Output = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Fit a landscape to data and save it with its stationary points; or fit another model, such as a material."""
    from workbench.cli.models import architecture_of, match_of, optimiser_of
    from workbench.files import results
    from workbench.files.data import read_data
    from workbench.fitting.learn import learn

    target = results.check_target(output or data.with_name(f"{data.stem}-fit.nc"), overwrite=overwrite)
    observed = read_data(data, name=name, states=_names(states), drop_missing=drop_missing)
    matched = match_of(_match(match), match_settings)
    architecture = architecture_of(model, observed, _architecture(modes, hidden), parsed(settings))
    outcome = learn(
        observed,
        match=matched,
        **architecture,
        members=members,
        restarts=restarts,
        bootstrap=bootstrap,
        differentiate=differentiate,
        seed=seed,
        optimiser=None if steps is None else optimiser_of(matched, steps),
        workers=workers or parallel.idle_cores(),
    )
    origin = {
        "title": f"{'landscape' if outcome.landscape is not None else model} learned from {data.name}",
        "input": str(data),
        "seed": outcome.fit.seed,
    }
    elapsed = sum(one.elapsed for one in outcome.fits.values())
    attrs = {**origin, "elapsed_seconds": elapsed, **outcome.attrs}
    results.save(target, **{**outcome, "attrs": attrs}, overwrite=overwrite)
    if "caveat" in attrs:
        console.err.print(f"warning: {attrs['caveat']}", style="yellow")
    entries = {"file": str(target), "fit": {label: repr(one) for label, one in outcome.fits.items()}}
    show(entries | _reported(outcome.analysis, as_json), as_json)


def analyse(
    file: Annotated[Path, typer.Argument(help="Result file with a fit.")],
    question: Annotated[
        list[str] | None,
        typer.Option(
            help="Analysis: stationary_points (default), wells, graph, paths, basins, rates, transition_times; may be "
            "repeated."
        ),
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option(metavar="LOW,HIGH", help="Bounds of a state, once per state; default: those of the data."),
    ] = None,
    fit_name: FitName = None,
    temperature: Temperature = None,
    output: Output = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Analyse a fitted landscape and save the results with it in a new file."""
    from workbench.cli.analysis import AT_A_TEMPERATURE, ask
    from workbench.files import results

    target = results.check_target(output or file.with_name(f"{file.stem}-analysis.nc"), overwrite=overwrite)
    result = results.load(file)
    label = result.fit_name(fit_name)
    _require_landscape(result, label)
    box = [_pair(pair) for pair in within] if within else result.models[label].box
    best = int(result[f"fits/{label}"].attrs.get("best_member", 0))
    analyses: dict[str, Any] = {}
    requested = question or ["stationary_points"]
    if temperature is not None and not set(AT_A_TEMPERATURE) & set(requested):
        raise ValueError("--temperature applies to --question rates or transition_times, neither of which is requested")
    for each in requested:
        at = temperature if each in AT_A_TEMPERATURE else None
        analyses |= ask(result.ensembles[label], each, box, best=best, temperature=at)
    groups = {f"analysis/{name}": found for name, found in analyses.items()}
    results.write(result.extended(groups), target, overwrite=overwrite)
    show({"file": str(target)} | _reported(analyses, as_json), as_json)


def simulate(
    file: Annotated[Path, typer.Argument(help="Result file with a fit.")],
    start: Annotated[list[str], typer.Option(metavar="X1,X2,…", help="Initial state; may be repeated.")],
    until: Annotated[float, typer.Option(help="Final time.")] = 10.0,
    samples: Annotated[int, typer.Option(min=2, help="Number of output times.")] = 101,
    temperature: Temperature = None,
    step: Annotated[float | None, typer.Option(help="Maximum time step of Langevin dynamics.")] = None,
    seed: Seed = None,
    fit_name: FitName = None,
    output: Output = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Simulate gradient flow or Langevin dynamics on a fitted landscape and save it with the fit."""
    from workbench.dynamics.simulation import simulate as simulated
    from workbench.files import results

    target = results.check_target(output or file.with_name(f"{file.stem}-simulation.nc"), overwrite=overwrite)
    result = results.load(file)
    label = result.fit_name(fit_name)
    _require_landscape(result, label)
    x0 = [[_number("start", x) for x in each.split(",")] for each in start]
    run = simulated(
        result.models[label], x0, np.linspace(0, until, samples), temperature=temperature, step=step, seed=seed
    )
    groups = {"simulation": run.assign_attrs(run.attrs | {"fit": label})}
    results.write(result.extended(groups), target, overwrite=overwrite)
    ends = [np.round(x, 6).tolist() if np.isfinite(x).all() else None for x in run["x"].isel(time=-1).values]
    show({"file": str(target), "ends": ends} | _warn_outside(run), as_json)


def validate(
    file: Annotated[Path, typer.Argument(help="Result file, or netCDF file with data.")],
    states: States = None,
    drop_missing: DropMissing = False,
    as_json: Json = False,
) -> None:
    """Check a file: seal, data and weights of a result, or the format of plain data."""
    from workbench.files.validation import validated

    show(validated(file, states=_names(states), drop_missing=drop_missing), as_json)


COMMANDS: dict[str, Callable[..., None]] = {"fit": fit, "analyse": analyse, "simulate": simulate, "validate": validate}


def _require_landscape(result: Any, label: str) -> None:
    """Raise `LandscapeError` if a fit is a material."""
    from workbench.materials.material import Material

    if isinstance(result.models[label], Material):
        raise LandscapeError(
            f"the fit {label!r} is a material, which has no landscape of states to analyse or simulate on. Its "
            f"response: workbench.load({str(result.path)!r}).models[{label!r}].respond(strain) in Python; on the "
            "command line, plot and validate work"
        )


def _match(given: list[str]) -> str | dict[str, float]:
    """Return one quantity to match, or several with their weights."""
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    pairs = [each.partition("=") for each in given]
    return {name: _number(f"the weight of {name}", weight or "1") for name, _, weight in pairs}


def _architecture(modes: str | None, hidden: str | None) -> dict[str, Any]:
    """Return the modes and the hidden widths that are given."""
    given: dict[str, Any] = {}
    if modes is not None:
        given["modes"] = "auto" if modes == "auto" else _integer("modes", modes)
    if hidden is not None:
        given["hidden"] = tuple(_integer("hidden", width) for width in hidden.split(","))
    return given


def _names(text: str | None) -> list[str] | None:
    """Split comma-separated names."""
    return None if text is None else [name.strip() for name in text.split(",")]


def _integer(name: str, text: str) -> int:
    """Parse an integer; the error names the setting."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} must be an integer, got {text!r}") from None


def _number(name: str, text: str) -> float:
    """Parse a number; the error names the setting."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text!r}") from None


def _pair(text: str) -> tuple[float, float]:
    """Parse the bounds LOW,HIGH."""
    low, comma, high = text.partition(",")
    if not comma:
        raise ValueError(f"--within expects LOW,HIGH, once per state, got {text!r}")
    return _number("--within", low), _number("--within", high)


def _warn_outside(run: "xr.Dataset") -> dict[str, Any]:
    """Warn of trajectories that leave the box of the data or blow up; return their numbers and the first exit time."""
    outside = run["inside_data"].values == 0
    left, gone = int(outside.any(-1).sum()), len(json.loads(run.attrs["blown_up_json"]))
    first = float(run["time"][outside.any(0).argmax()]) if left else None
    if left:
        console.err.print(
            f"warning: {left} of {len(outside)} trajectories leave the box of the data, the first by t = {first:g}; "
            f"the landscape is extrapolated there, and {gone} of them blew up",
            style="yellow",
        )
    return {"outside_data": left, "first_outside": first, "blown_up": gone}


def _reported(analyses: "Mapping[str, xr.Dataset]", as_json: bool) -> dict[str, Any]:
    """Return the rows to print of each analysis, as lines of text or as numbers."""
    from workbench.cli.tables import rows, text

    return {name: [row if as_json else text(row) for row in rows(found)] for name, found in analyses.items()}
