"""How the cost of all minima grows with the dimension: separable double wells Σ (xᵢ² − 1)², d = 2 … 10.

They have 3^d stationary points, 2^d of them minima. From four starts a minimum every search falls to one; printed are
the minima found, those that are none (against the exact places), the seconds and the evaluations of the Hessian.
"""

import platform
import time

import numpy as np
import torch

import workbench as wb


class DoubleWells:
    """Σ (xᵢ² − 1)² with its derivatives in closed form, counting the rows at which the Hessian was asked for."""

    members = None

    def __init__(self, dim: int) -> None:
        self.states, self.rows = tuple(f"x{i + 1}" for i in range(dim)), 0

    def value(self, x: torch.Tensor) -> torch.Tensor:
        """Return Ψ(x), shape (…)."""
        return ((x**2 - 1) ** 2).sum(-1)

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """Return ∇Ψ(x), shape (…, dim)."""
        return 4 * x * (x**2 - 1)

    def hessian(self, x: torch.Tensor) -> torch.Tensor:
        """Return ∇²Ψ(x), shape (…, dim, dim)."""
        self.rows += len(x)
        return torch.diag_embed(12 * x**2 - 4)


def main() -> None:
    """Print one line for each dimension."""
    torch.set_num_threads(1)
    wb.stationary_points(DoubleWells(2), [(-1.6, 1.6)] * 2, index=0)  # so that imports are not timed
    print(f"{platform.platform()}, torch {torch.__version__}, 1 thread; 4 · 2^d starts")
    print(f"{'d':>2} {'points':>7} {'minima':>7} {'found':>6} {'false':>6} {'seconds':>8} {'Hessians':>9}")
    for dim in range(2, 11):
        well, begin = DoubleWells(dim), time.perf_counter()
        found = wb.stationary_points(well, [(-1.6, 1.6)] * dim, starts=4 * 2**dim, index=0)
        seconds, x = time.perf_counter() - begin, found["x"].values
        false = int((np.abs(np.abs(x) - 1) > 1e-8).any(-1).sum())
        different = len(np.unique(np.sign(x), axis=0))
        print(f"{dim:2} {3**dim:7} {2**dim:7} {different:6} {false:6} {seconds:8.2f} {well.rows:9}")


if __name__ == "__main__":
    main()
