"""Cost of finding all minima as the dimension grows: separable double wells Σ (xᵢ² − 1)², d = 2 … 10.

They have 3^d stationary points, of which 2^d are minima. The search uses four starting points per minimum. Printed are
the number of minima found, of points that are not minima (by comparison with the exact positions), the time in seconds
and the number of Hessian evaluations.
"""

import platform
import time

import numpy as np
import torch

import workbench as wb


class DoubleWells:
    """Σ (xᵢ² − 1)² with derivatives in closed form; `rows` counts the points at which the Hessian was evaluated."""

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
    """Print one line per dimension."""
    torch.set_num_threads(1)
    wb.stationary_points(DoubleWells(2), [(-1.6, 1.6)] * 2, index=0)  # keep imports out of the timing
    print(f"{platform.platform()}, torch {torch.__version__}, 1 thread; 4 · 2^d starting points")
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
