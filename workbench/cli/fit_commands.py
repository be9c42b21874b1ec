"""Commands for one's own data: fit, analyse, simulate, validate."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from workbench.cli import console
from workbench.cli.console import Json, Output, Overwrite, Seed, Workers, show

if TYPE_CHECKING:
    import xarray as xr


__all__ = ["COMMANDS"]

FitName = Annotated[str | None, typer.Option("--fit", help="Which fit of the file; default the last one.")]
States = Annotated[str | None, typer.Option(help="Variables that are the states, where the file has no x.")]
DropMissing = Annotated[bool, typer.Option("--drop-missing", help="Leave out samples that are not finite.")]
Temperature = Annotated[float | None, typer.Option(help="Temperature T of dx = −∇Ψ dt + √(2T) dW.")]


def fit(
    data: Annotated[Path, typer.Argument(help="netCDF file, of any origin.")],
    match: Annotated[
        list[str], typer.Option(help="potential, gradient, velocity or trajectory; NAME=WEIGHT, repeated, for several.")
    ],
    modes: Annotated[str, typer.Option(help="Number of convex modes, or auto.")] = "3",
    hidden: Annotated[str, typer.Option(help="Widths of the hidden layers.")] = "8,8,8",
    members: Annotated[int, typer.Option(help="Independent fits; their spread is the error bar.")] = 1,
    restarts: Annotated[int | None, typer.Option(help="Starts screened for each member.")] = None,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Let every member weigh the data anew (Bayesian bootstrap).")
    ] = False,
    differentiate: Annotated[
        bool, typer.Option("--differentiate", help="Estimate velocities from the trajectories.")
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Most steps of a fit.")] = None,
    name: Annotated[str | None, typer.Option("--data", help="Which data (or group) of the file.")] = None,
    states: States = None,
    drop_missing: DropMissing = False,
    seed: Seed = 0,
    output: Output = None,
    overwrite: Overwrite = False,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Fit a landscape to data, and save it with its stationary points."""
    from workbench.files import results
    from workbench.files.data import read_data
    from workbench.fitting.learn import learn
    from workbench.fitting.levenberg_marquardt import LevenbergMarquardt

    target = results.check_target(output or data.with_name(f"{data.stem}-fit.nc"), overwrite=overwrite)
    seen = read_data(data, name=name, states=_names(states), drop_missing=drop_missing)
    answer = learn(
        seen,
        match=_match(match),
        modes="auto" if modes == "auto" else _integer("modes", modes),  # type: ignore[arg-type]
        hidden=[_integer("hidden", width) for width in hidden.split(",")],
        members=members,
        restarts=restarts,
        bootstrap=bootstrap,
        differentiate=differentiate,
        seed=seed,
        optimiser=None if steps is None else LevenbergMarquardt(steps=steps),
        workers=workers,
    )
    origin = {"title": f"landscape learned from {data.name}", "input": str(data), "seed": answer.fit.seed}
    elapsed = sum(one.elapsed for one in answer.fits.values())
    attrs = {**origin, "elapsed_seconds": elapsed, **answer.attrs}
    results.save(target, **{**answer, "attrs": attrs}, overwrite=overwrite)
    if "caveat" in attrs:
        console.err.print(f"warning: {attrs['caveat']}", style="yellow")
    told = {"file": str(target), "fit": {label: repr(one) for label, one in answer.fits.items()}}
    show(told | _told(answer.analysis, as_json), as_json)


def analyse(
    file: Annotated[Path, typer.Argument(help="Result file with a fit.")],
    question: Annotated[
        list[str] | None,
        typer.Option(help="stationary_points (default), wells, graph, paths, basins or rates; may be repeated."),
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option(metavar="LOW,HIGH", help="Box, once for each state; default that of the data."),
    ] = None,
    fit_name: FitName = None,
    temperature: Temperature = None,
    output: Output = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Ask a fitted landscape, and save the answers with it in a new file."""
    from workbench.cli.analysis import ask
    from workbench.files import results

    target = results.check_target(output or file.with_name(f"{file.stem}-analysis.nc"), overwrite=overwrite)
    result = results.load(file)
    label = result.fit_name(fit_name)
    box = [_pair(pair) for pair in within] if within else result.models[label].box
    best = int(result[f"fits/{label}"].attrs.get("best_member", 0))
    answers: dict[str, Any] = {}
    asked = question or ["stationary_points"]
    if temperature is not None and "rates" not in asked:
        raise ValueError("--temperature is the temperature of --question rates, which is not asked")
    for each in asked:
        answers |= ask(
            result.ensembles[label], each, box, best=best, temperature=temperature if each == "rates" else None
        )
    groups = {f"analysis/{name}": answer for name, answer in answers.items()}
    results.write(result.extended(groups), target, overwrite=overwrite)
    show({"file": str(target)} | _told(answers, as_json), as_json)


def simulate(
    file: Annotated[Path, typer.Argument(help="Result file with a fit.")],
    start: Annotated[list[str], typer.Option(metavar="X1,X2,…", help="A state to start from; may be repeated.")],
    until: Annotated[float, typer.Option(help="Last time.")] = 10.0,
    samples: Annotated[int, typer.Option(min=2, help="Times that are saved.")] = 101,
    temperature: Temperature = None,
    step: Annotated[float | None, typer.Option(help="Longest step of Langevin dynamics.")] = None,
    seed: Seed = None,
    fit_name: FitName = None,
    output: Output = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Follow the gradient flow of a fitted landscape, or Langevin dynamics, and save it with the fit."""
    from workbench.dynamics.simulation import simulate as run_of
    from workbench.files import results

    target = results.check_target(output or file.with_name(f"{file.stem}-simulation.nc"), overwrite=overwrite)
    result = results.load(file)
    label = result.fit_name(fit_name)
    x0 = [[_number("start", x) for x in each.split(",")] for each in start]
    run = run_of(
        result.models[label], x0, np.linspace(0, until, samples), temperature=temperature, step=step, seed=seed
    )
    groups = {"simulation": run.assign_attrs(run.attrs | {"fit": label})}
    results.write(result.extended(groups), target, overwrite=overwrite)
    ends = [np.round(x, 6).tolist() if np.isfinite(x).all() else None for x in run["x"].isel(time=-1).values]
    show({"file": str(target), "ends": ends} | _told_leavers(run), as_json)


def validate(
    file: Annotated[Path, typer.Argument(help="Result file, or netCDF file with data.")],
    states: States = None,
    drop_missing: DropMissing = False,
    as_json: Json = False,
) -> None:
    """Check a file: a result with its seal, data and weights, or plain data against the vocabulary."""
    from workbench.files.validation import validated

    show(validated(file, states=_names(states), drop_missing=drop_missing), as_json)


COMMANDS: dict[str, Callable[..., None]] = {"fit": fit, "analyse": analyse, "simulate": simulate, "validate": validate}


def _match(given: list[str]) -> str | dict[str, float]:
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    pairs = [each.partition("=") for each in given]
    return {name: _number(f"the weight of {name}", weight or "1") for name, _, weight in pairs}


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} must be an integer, got {text!r}") from None


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text!r}") from None


def _pair(text: str) -> tuple[float, float]:
    low, comma, high = text.partition(",")
    if not comma:
        raise ValueError(f"--within expects LOW,HIGH, once for each state, got {text!r}")
    return _number("--within", low), _number("--within", high)


def _told_leavers(run: "xr.Dataset") -> dict[str, Any]:
    """Tell which trajectories leave the data or blow up, and return how many, and from when on the first is outside."""
    outside = run["inside_data"].values == 0
    left, gone = int(outside.any(-1).sum()), len(json.loads(run.attrs["blown_up_json"]))
    first = float(run["time"][outside.any(0).argmax()]) if left else None
    if left:
        console.err.print(
            f"warning: {left} of {len(outside)} trajectories leave the box of the data, the first by t = {first:g}; "
            f"the landscape is extrapolated there, and {gone} blew up",
            style="yellow",
        )
    return {"outside_data": left, "first_outside": first, "blown_up": gone}


def _told(answers: "Mapping[str, xr.Dataset]", as_json: bool) -> dict[str, Any]:
    """Return what to print of answers: their rows, as lines to read or as numbers."""
    from workbench.cli.tables import rows, text

    return {name: [row if as_json else text(row) for row in rows(answer)] for name, answer in answers.items()}
