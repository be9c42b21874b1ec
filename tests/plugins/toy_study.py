"""A study of one's own: the depths of the wells of a landscape that was learned from few points."""

import studies
import systems
import workbench as wb


@studies.register("toy_depths")
class Depths(studies.Study):
    """One number from twenty points."""

    title = "Depth of a learned well"
    samples: int = systems.parameter(30, "number of points", ge=10)

    def compute(self, seed, options):
        truth = systems.get("asymmetric_quartic")
        data = truth.points(self.samples, seed=seed)
        quick = wb.LevenbergMarquardt(steps=20, screening=5)
        fit = wb.fit(wb.LSEICNN(1, 2, (4,)), data, match="potential", seed=seed, restarts=1, optimiser=quick)
        metrics = [studies.Metric("error", fit.error, "validation error", at_most=0.5)]
        found = {"metrics": studies.metrics_dataset(metrics)}
        return {"data": fit.data, "fits": fit, "landscape": wb.grid(fit.model, truth.box, 21), "analysis": found}

    @staticmethod
    def figures(tree):
        page, axes = wb.plot.figure(1, 1, size=(2, 2))
        axes[0, 0].plot(tree["landscape/potential"])
        return {"landscape": page}
