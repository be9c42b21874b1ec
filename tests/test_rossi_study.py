"""The study of materials: its scores against NumPy on its own file, and what needs no fit against closed forms."""

import numpy as np
import pytest

import studies
import systems
import workbench as wb
from studies.metrics import Metric
from studies.rossi import metrics

SMALL = {
    "paths": 15, "test": 5, "samples": 25, "modes": 1, "hidden": [4], "operators": 2, "steps": 8, "polish": 4,
    "nodes": ["a", "b"], "internal": 2, "node_hidden": [4], "widths": [4], "node_steps": 6, "seeds": 2, "grid": 5,
}  # fmt: skip
TWICE = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("rossi") / "small.nc"
    return wb.load(studies.get("rossi", **SMALL).run(path, seed=3, workers=1, progress=False))


def spread(stress):
    return np.sqrt((stress.reshape(-1, 6).var(0) * TWICE).sum())


def test_scores_are_those_of_the_predictions(result):
    table = result["analysis/scores"].to_dataset()
    kinds = ["a", "b", "c"]
    expected = [f"{case}_{kind}" for case in ("two_phase", "hardening") for kind in kinds]
    expected += [
        "two_phase_c_2",
        *(f"{case}_{kind}" for case in ("frozen", "general") for kind in ("c", "c_isotropic")),
    ]
    assert set(table["fit"].values) == set(expected) == set(result.models)
    for name in table["fit"].values:
        row, data = table.sel(fit=name), result[f"data/{table['case'].sel(fit=name).values}"].to_dataset()
        test = (data["split"] == "test").values
        predicted, true = result[f"fits/{name}/predictions"].to_dataset(), data["stress"].values[test]
        residual = (predicted["stress"].values[test] - true) ** 2 @ TWICE
        assert float(row["error"]) == pytest.approx(np.sqrt(residual.mean()) / spread(true))
        assert float(row["worst_path"]) == pytest.approx(np.sqrt(residual.mean(-1).max()) / spread(true))
        gaps = predicted["stress"].values[test] - true
        moving = true.reshape(-1, 6).std(0) > 1e-12
        left = (gaps**2).mean((0, 1))[moving] / true.reshape(-1, 6).var(0)[moving]
        assert float(row["r2"]) == pytest.approx(1 - left.max())
        share = np.abs(gaps).max() / spread(true) * np.sqrt(TWICE[moving].sum())
        assert float(row["worst_point"]) == pytest.approx(share)
        if row["case"] != "frozen":
            dissipated = predicted["dissipation"].values[test].sum()
            assert float(row["negative"]) == (predicted["dissipation"].values[test] < 0).mean()
            assert float(row["dissipation"]) == pytest.approx(dissipated / data["dissipation"].values[test].sum())
            run = result[f"simulation/{row['case'].values}"].to_dataset().sel(programme="reversals")
            gap = run["stress"].sel(fit=name).values - run["stress_true"].values
            unseen = np.sqrt((gap**2 @ TWICE).mean()) / spread(run["stress_true"].values)
            assert float(row["error_reversals"]) == pytest.approx(unseen)
            share = run["dissipation"].sel(fit=name).values.sum() / run["dissipation_true"].values.sum()
            assert float(row["dissipation_reversals"]) == pytest.approx(share)
            E, time = data["strain"].values[test], data["time"].values
            fine, model = metrics.refined(E, 4), result.models[str(name)]
            moved = model.respond(fine, np.linspace(0, 1, fine.shape[1])).stress[:, ::4] - predicted["stress"][test]
            refinement = np.sqrt((moved.values**2 @ TWICE).mean()) / spread(true)
            assert float(row["refinement"]) == pytest.approx(refinement, rel=1e-6, abs=1e-12)
            slow = model.respond(E, 4 * time).stress - predicted["stress"].values[test]
            assert float(row["rate"]) == pytest.approx(np.sqrt((slow**2 @ TWICE).mean()) / spread(true), abs=1e-12)
    assert 0 < table["negative"].sel(fit="two_phase_a") < 1
    assert table["refinement"].sel(fit="two_phase_a") > 1e-6


def test_generalised_play_keeps_its_promises_however_short_its_fit(result):
    table = result["analysis/scores"].to_dataset()
    for name in ("two_phase_c", "hardening_c", "general_c"):
        row = table.sel(fit=name)
        assert row["rate"] == 0.0
        assert row["refinement"] < 1e-12
        assert row["negative"] == 0.0
        assert row["balance"] < 0.016  # an error of second order: 1e-3 at 100 samples
    assert table.sel(fit="two_phase_b")["rate"] < 1e-12 < table.sel(fit="two_phase_a")["rate"]


def test_unseen_programmes_are_new_and_truly_answered(result):
    for case, hardening in (("two_phase", 0.0), ("hardening", 1.0)):
        run = result[f"simulation/{case}"].to_dataset()
        again = systems.get("rossi", hardening=hardening).respond(run["strain"].values)
        np.testing.assert_allclose(run["stress_true"], again["stress"], atol=1e-15)
        assert list(run["programme"].values) == ["reversals", "sawtooth", "random"]
    uniaxial = run["strain"].sel(programme="reversals")
    assert float(abs(uniaxial.sel(component=["22", "33", "12", "13", "23"])).max()) == 0.0
    assert -0.25 < float(uniaxial.min()) < float(uniaxial.max()) == 0.0
    assert list(result["simulation/general"]["programme"].values) == ["reversals", "sawtooth"]


def test_energies_in_the_file_are_those_of_the_phases(result):
    grid, rossi = result["landscape"].to_dataset(), systems.get("rossi")
    E11, c = grid["strain"].values, grid["phase"].values[:, None]
    stiffness = rossi.K + 4 * rossi.G / 3
    exact = 0.5 * stiffness * (E11 - c * rossi.e0) ** 2 + c * rossi.gap
    np.testing.assert_allclose(grid["potential_true"], exact, atol=1e-15)
    assert grid["potential"].values[0, -1] == 0.0
    model = result.models["two_phase_c"]
    path = model.respond(E11[::-1, None] * np.eye(6)[:1])
    learned, stored = grid["potential"].values, path.potential - path.potential[0]
    first = np.abs(path.internal[:, 0] - path.internal[0, 0]) < 1e-12  # of a path from rest
    np.testing.assert_allclose(learned[0, ::-1][first], stored[first], atol=1e-14)
    assert learned[2, 0] == pytest.approx(stored[-1], abs=1e-14)


def test_isotropic_limit_vanishes_without_the_transformation(monkeypatch):
    study = studies.get("rossi", test=6)
    seed = np.random.SeedSequence(0)
    assert study._limit("frozen", seed) > 0.2
    nearly_isotropic = systems.get("rossi", e0=-1e-6, frozen=0.5)
    monkeypatch.setattr(type(study), "material", lambda self, case: nearly_isotropic)
    assert study._limit("frozen", seed) < 1e-5


def test_isotropic_limit_of_a_line_is_its_closed_form(monkeypatch):
    """Of S = C:(E − cE₀) only the constant −cE₀ is lost: C:e₁⊗e₁ less its mean over the axes, turned."""

    class Line:
        def paths(self, count, *, axis, **options):
            E11 = np.linspace(-0.25, 0, 101)[None, :, None]
            strain = E11 * np.outer(axis, axis)[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
            return systems.get("rossi", frozen=0.5).paths(strain=strain)

    study = studies.get("rossi")
    monkeypatch.setattr(type(study), "material", lambda self, case: Line())
    E11, along, across = np.linspace(-0.25, 0, 101), 5 / 3, 2 / 3
    jump = 0.05 * np.array([along, across, across])  # the stress of −cE₀ = 0.05 e₁⊗e₁, whatever the axis
    seen = np.array([E11[:, None] * np.where(np.eye(3)[k], along, across) + jump for k in range(3)])
    turned = np.array([np.roll(jump, -k) for k in range(3)])
    best = turned.mean(0)
    best[1:] = best[1:].mean()
    expected = np.sqrt(((turned - best) ** 2).mean() / seen.var((0, 1)).mean())
    assert study._limit("frozen", np.random.SeedSequence(0)) == pytest.approx(expected, rel=1e-12)


def test_bounds_follow_from_the_table(result):
    table = result["analysis/scores"].to_dataset()
    told = {n.name: n for n in metrics.of_table(table, 0.003)}
    assert (told["error_two_phase_c"].at_most, told["worst_point_two_phase_c_2"].at_most) == (0.006, 0.1)
    assert (told["r2_frozen_c"].at_least, told["error_frozen_c_isotropic"].at_least) == (0.9999, 0.06)
    assert (told["rate_two_phase_b"].at_most, told["dissipation_two_phase_c"].at_least) == (1e-12, 0.98)
    assert np.isnan([told["dissipation_two_phase_a"].at_most, told["error_hardening_c"].at_most]).all()
    assert "dissipation_frozen_c" not in told
    error = {str(name): float(table["error"].sel(fit=name)) for name in table["fit"].values}
    assert told["gain_of_the_axis"].value == error["general_c_isotropic"] / error["general_c"]
    nodes = [error["hardening_a"], error["hardening_b"]]
    assert nodes[0] != nodes[1]
    assert told["gain_on_hardening"].value == min(nodes) / error["hardening_c"]
    assert (told["gain_of_the_axis"].at_least, told["gain_on_hardening"].at_least) == (5.0, 1.0)
    median = np.median([told[f"error_two_phase_c{k}"].value for k in ("", "_2")])
    assert told["error_median_two_phase_c"] == Metric(
        "error_median_two_phase_c", median, told["error_median_two_phase_c"].meaning, at_most=0.003, unit="1"
    )
