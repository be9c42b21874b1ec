"""A material of one's own: linear elasticity, S = λ tr(E) 1 + 2μ E, without internal variables."""

import torch

import workbench as wb


class Hooke(wb.Material):
    """Ψ = (λ/2 + μ) (tr E)² − 2μ II, here by the invariants tr E and tr E² : Ψ = λ/2 (tr E)² + μ tr E²."""

    internal = 0

    def __init__(self, shear=1.0):
        super().__init__()
        self.invariants = wb.Invariants()  # tr E, tr E², tr E³
        self.moduli = torch.nn.Parameter(torch.tensor([1.0, shear], dtype=torch.float64))

    def features(self, E, time):
        return {"x": self.invariants.value(E), "slope": self.invariants.gradient(E)}

    def states(self, features, start):
        return features["x"][..., :0]

    def gradients(self, features, h):
        trace = features["x"][..., 0]
        zero = torch.zeros_like(trace)
        return torch.stack([self.moduli[0] * trace, self.moduli[1] + zero, zero], -1), h

    def dissipated(self, features, h):
        return torch.zeros_like(features["x"][..., 0])

    def energy(self, features, h):
        x = features["x"]
        return 0.5 * self.moduli[0] * x[..., 0] ** 2 + self.moduli[1] * x[..., 1]

    def initialise(self, rng, strain, stress, time):
        self.moduli.data = torch.as_tensor(rng.uniform(0.5, 1.5, 2))
