"""A potential of one's own: a polynomial, whose degree is a setting."""

import torch

import workbench as wb


class Polynomial(wb.TrainablePotential):
    """Ψ̂ = Σ_k Σ_i c_ki x_i^k."""

    def __init__(self, dim, *, states=None, degree=4):
        super().__init__(dim, states=states)
        self.c = torch.nn.Parameter(torch.zeros(degree + 1, dim, dtype=torch.float64))

    def value(self, x):
        return sum((c * x**k).sum(-1) for k, c in enumerate(self.c))

    def initialise(self, data, rng):
        with torch.no_grad():
            self.c.copy_(torch.as_tensor(rng.normal(0, 0.1, self.c.shape)))
        return self
