r"""The generator of overdamped Langevin dynamics on a grid, by finite volumes with Scharfetter–Gummel fluxes.

For dx = −∇Ψ dt + √(2T) dW, the mean of a function f of the state changes at the rate

    Lf = T ∇²f − ∇Ψ·∇f = e^{Ψ/T} ∇·(T e^{−Ψ/T} ∇f).

On a regular grid the motion becomes jumps between neighbouring nodes i and j, at a distance h along one state, where
the cell of i is ℓ wide. If the flux from one to the other is constant and Ψ linear in between, the rate of jumps is

    rᵢⱼ = T/(ℓ h) · B((Ψⱼ − Ψᵢ)/T),        B(z) = z/(e^z − 1).

It is positive whatever the slope of Ψ, and satisfies detailed balance, πᵢ rᵢⱼ = πⱼ rⱼᵢ, with πᵢ = Vᵢ e^{−Ψᵢ/T} and Vᵢ
the volume of the cell. Only differences of Ψ between neighbours enter: nothing overflows. Sides of the box reflect, and
so do nodes at which Ψ is not finite. The error is of order h², and regular: two grids, one of twice the spacing of the
other, tell it and remove its leading part (Richardson's extrapolation).

Where the motion ends in a set, {x: level(x) ≤ 0}, a jump across its boundary has the length of the way to the boundary
as its h, and ends there; the cell of a node beside it is half as wide as its two jumps are long (Shortley and Weller).
The error is then of order h² as well, wherever the boundary passes between the nodes.

References
----------
D. L. Scharfetter, H. K. Gummel, IEEE Trans. Electron Devices 16, 64-77 (1969), doi:10.1109/T-ED.1969.16566.

J. C. Latorre, P. Metzner, C. Hartmann, C. Schütte, Commun. Math. Sci. 9, 1051-1072 (2011),
doi:10.4310/CMS.2011.v9.n4.a6.

G. H. Shortley, R. Weller, J. Appl. Phys. 9, 334-348 (1938), doi:10.1063/1.1710426.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from workbench.checks import require_integer
from workbench.errors import LandscapeError
from workbench.potentials.natural import Natural

__all__ = ["DEFAULT_NODES", "Generator", "Heights", "Level", "balls", "bernoulli", "require_nodes", "require_resolved"]

Level = Callable[[np.ndarray], np.ndarray]  # of states, shape (row, dim): ≤ 0 in a set, > 0 outside, shape (row,)

DEFAULT_NODES = {1: 2001, 2: 241, 3: 33}  # by the number of states: nodes along each
MOST_NODES = {1: 2**20 + 1, 2: 1025, 3: 61}  # a factorisation then takes some minutes and 4 GB
FEWEST_NODES = 9
ROWS_AT_ONCE = 65_536  # states at which a potential is evaluated at a time
BISECTIONS = 52  # of a jump across the boundary of a set: to the last bit
RESOLVED = 3.0  # spacings of the finer grid in the radius of a ball; 1.5 of the coarser one
OUTSIDE = -1  # number of the set of a node in none


def bernoulli(z: np.ndarray) -> np.ndarray:
    """Return B(z) = z/(e^z − 1), which is 1 at 0 and satisfies B(−z) = e^z B(z).

    >>> bernoulli(np.array([-1e6, 0.0, 1e6])).tolist()
    [1000000.0, 1.0, 0.0]
    """
    with np.errstate(over="ignore"):
        return np.divide(z, np.expm1(z), out=np.ones_like(z), where=z != 0)


def require_nodes(nodes: int | None, states: Sequence[str]) -> int:
    """Return the number of nodes along each state, by default that for the number of states.

    Raises
    ------
    LandscapeError
        If there are more than three states.
    ValueError
        If the number is not an odd integer, is below 9, or too large for the memory of a computer.
    """
    dim = len(states)
    if dim not in DEFAULT_NODES:
        raise LandscapeError(
            f"a grid resolves one to three states, got {dim}: simulate with first_passage(…), or take rates(…)"
        )
    if nodes is None:
        return DEFAULT_NODES[dim]
    require_integer(FEWEST_NODES, nodes=nodes)
    if nodes % 2 == 0:
        raise ValueError(f"nodes must be odd, so that every other one is a node of a coarser grid; got {nodes}")
    if nodes > MOST_NODES[dim]:
        raise ValueError(
            f"nodes = {nodes} for each of {dim} states makes {float(nodes) ** dim:.1g} nodes, more than memory holds; "
            f"at most {MOST_NODES[dim]}"
        )
    return int(nodes)


class Heights:
    """Ψ/T at the nodes of a regular grid over the box of a landscape, and wherever else it is asked for.

    Parameters
    ----------
    natural : Natural
        Landscape in natural units; states below are in these units.
    temperature : float
        T in natural units.
    shape : tuple of int
        Number of nodes along each state.
    value : numpy.ndarray, optional
        Values at the nodes, shape `shape`, where they are known already.

    Attributes
    ----------
    axes : list of numpy.ndarray
        Positions of the nodes along each state.
    spacing : numpy.ndarray
        Distances between neighbours along each state, shape (dim,).
    rows : numpy.ndarray
        All nodes, shape (node, dim).
    value : numpy.ndarray
        Ψ/T, shape (node,), not finite where the potential is not.
    """

    def __init__(
        self, natural: Natural, temperature: float, shape: tuple[int, ...], value: np.ndarray | None = None
    ) -> None:
        self.natural, self.temperature, self.shape = natural, temperature, shape
        low, high = natural.box.low.cpu().numpy(), natural.box.high.cpu().numpy()
        self.axes = [np.linspace(first, last, n) for first, last, n in zip(low, high, shape, strict=True)]
        self.spacing = (high - low) / (np.array(shape) - 1)
        self.rows = np.stack(np.meshgrid(*self.axes, indexing="ij"), -1).reshape(-1, len(shape))
        self.value = self.at(self.rows) if value is None else value.ravel()

    def at(self, y: np.ndarray) -> np.ndarray:
        """Return Ψ/T at states in natural units, shape (row, dim)."""
        parts = [self.natural.value(y[k : k + ROWS_AT_ONCE]) for k in range(0, len(y), ROWS_AT_ONCE)]
        return np.concatenate([np.zeros(0), *parts]) / self.temperature

    def nearest(self, y: np.ndarray) -> int:
        """Return the index of the node nearest to a state in natural units, shape (dim,)."""
        return int(np.argmin(np.linalg.norm(self.rows - y, axis=-1)))

    def coarser(self) -> "Heights":
        """Return the heights on every other node along each state."""
        every_other = self.value.reshape(self.shape)[(slice(None, None, 2),) * len(self.shape)]
        return Heights(self.natural, self.temperature, every_other.shape, every_other)


def balls(centres: np.ndarray, radius: float) -> Level:
    """Return the level of the balls of one radius round centres, shape (ball, dim): the distance from the nearest.

    >>> balls(np.array([[0.0, 0.0], [3.0, 0.0]]), 1.0)(np.array([[0.0, 2.0], [2.0, 0.0]])).tolist()
    [1.0, 0.0]
    """

    def level(y: np.ndarray) -> np.ndarray:
        distance = np.stack([np.linalg.norm(y - centre, axis=-1) for centre in centres])
        return distance.min(0) - radius

    return level


def require_resolved(natural: Natural, radius: float, nodes: int) -> None:
    """Raise `LandscapeError` if a grid over the box does not resolve a ball of this radius, in the units of x."""
    side = float((natural.box.width * natural.unit).max())
    spacings = radius * (nodes - 1) / side
    if spacings < RESOLVED * (1 - 1e-9):
        needed = int(np.ceil(RESOLVED * side / radius)) + 1
        raise LandscapeError(
            f"the grid does not resolve the radius, which is {spacings:.2g} of its spacings; at least {RESOLVED:g} are "
            f"needed: take nodes={needed + 1 - needed % 2} or more, a larger radius or a narrower box"
        )


class Generator:
    """Rates of jumps between the nodes of a grid, and into sets in which the motion ends.

    Parameters
    ----------
    heights : Heights
        Ψ/T on a grid.
    sets : sequence of Level
        Sets in which the motion ends.

    Attributes
    ----------
    nodes : numpy.ndarray
        Indices of the nodes among which the motion takes place, in ascending order. They are outside the sets, Ψ is
        finite there, and a way leads from them to a set; without sets they are the connected part of largest weight.
    rates : scipy.sparse.csr_array
        Rates of jumps between these nodes, shape (node, node), with zeros on the diagonal.
    exits : numpy.ndarray
        Rates of jumps into each set, shape (node, set).
    total : numpy.ndarray
        Sum of the rates of jumps from a node, shape (node,).
    inside : numpy.ndarray
        The set in which a node of the grid lies, −1 for none, shape (node of the grid,).
    weight : numpy.ndarray
        πᵢ of every node of the grid, relative to the largest e^{−Ψ/T}, shape (node of the grid,); 0 where Ψ is not
        finite.

    Examples
    --------
    >>> import systems
    >>> from workbench.potentials.box import landscape_in
    >>> natural = Natural(*landscape_in(systems.get("asymmetric_quartic"), [(-2, 2)]))
    >>> found = Generator(Heights(natural, 0.1, (41,)))
    >>> flux = found.weight[:, None] * found.rates.toarray()
    >>> bool(abs(flux - flux.T).max() < 1e-12 * flux.max())
    True
    """

    def __init__(self, heights: Heights, sets: Sequence[Level] = ()) -> None:
        self.heights, self.sets = heights, sets
        count, shape = len(heights.rows), heights.shape
        finite = np.isfinite(heights.value)
        self.inside = np.full(count, OUTSIDE)
        for number, level in enumerate(sets):
            self.inside[level(heights.rows) <= 0] = number
        reach = np.repeat(heights.spacing[:, None], 2, -1)[None].repeat(count, 0)  # (node, dim, side): ways to a jump
        index = np.arange(count).reshape(shape)
        for k, n in enumerate(shape):
            reach[index.take(0, k).ravel(), k, 0] = reach[index.take(n - 1, k).ravel(), k, 1] = 0.0
        self.volume = reach.mean(-1).prod(-1)
        faces, cuts = [], []
        for k, n in enumerate(shape):
            lower, upper = index.take(range(n - 1), k).ravel(), index.take(range(1, n), k).ravel()
            live = finite[lower] & finite[upper]
            free = live & (self.inside[lower] == OUTSIDE) & (self.inside[upper] == OUTSIDE)
            faces.append((k, lower[free], upper[free]))
            for side, near, far in ((1, lower, upper), (0, upper, lower)):
                cut = live & (self.inside[near] == OUTSIDE) & (self.inside[far] != OUTSIDE)
                cuts.append((k, near[cut], *self._cut(near[cut], far[cut])))
                reach[near[cut], k, side] = cuts[-1][-1]
        self._assemble(faces, cuts, reach.mean(-1), finite)
        depth = np.where(finite, heights.value, np.inf)
        self.weight = self.volume * np.exp(depth.min() - depth) if finite.any() else np.zeros(count)
        self._select()

    def _cut(self, near: np.ndarray, far: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the set entered on the way from outside nodes to inside ones, Ψ/T on its boundary, and the length."""
        start, way = self.heights.rows[near], self.heights.rows[far] - self.heights.rows[near]
        number, part = self.inside[far], np.ones(len(near))
        for which, level in enumerate(self.sets):
            mine = number == which
            low, high = np.zeros(mine.sum()), np.ones(mine.sum())
            for _ in range(BISECTIONS):
                middle = (low + high) / 2
                entered = level(start[mine] + middle[:, None] * way[mine]) <= 0
                low, high = np.where(entered, low, middle), np.where(entered, middle, high)
            part[mine] = high
        return number, self.heights.at(start + part[:, None] * way), part * np.linalg.norm(way, axis=-1)

    def _assemble(
        self, faces: Sequence[tuple[Any, ...]], cuts: Sequence[tuple[Any, ...]], width: np.ndarray, finite: np.ndarray
    ) -> None:
        """Set the rates of jumps between all nodes of the grid, and into the sets."""
        T, height, count = self.heights.temperature, self.heights.value, len(finite)
        tails, heads, values = [], [], []
        for k, lower, upper in faces:
            z = height[upper] - height[lower]
            for tail, head, rise in ((lower, upper, z), (upper, lower, -z)):
                tails.append(tail)
                heads.append(head)
                values.append(T / (width[tail, k] * self.heights.spacing[k]) * bernoulli(rise))
        places = (np.concatenate(tails), np.concatenate(heads))
        self.rates = csr_array(coo_array((np.concatenate(values), places), shape=(count, count)))
        self.exits = np.zeros((count, len(self.sets)))
        for k, near, number, edge, length in cuts:
            live = np.isfinite(edge)
            at, z, h = near[live], (edge - height[near])[live], length[live]
            np.add.at(self.exits, (at, number[live]), T / (width[at, k] * h) * bernoulli(z))

    def _select(self) -> None:
        """Keep the nodes among which the motion takes place."""
        free = np.isfinite(self.heights.value) & (self.inside == OUTSIDE)
        pattern = csr_array((np.ones(self.rates.nnz), self.rates.indices, self.rates.indptr), shape=self.rates.shape)
        parts, part = connected_components(pattern, directed=False)
        if self.sets:
            score = np.bincount(part, weights=(self.exits > 0).any(1) & free, minlength=parts)
            kept = free & (score[part] > 0)
        else:
            score = np.bincount(part, weights=self.weight, minlength=parts)
            kept = free & (part == np.argmax(score))
        self.nodes = np.flatnonzero(kept)
        self.rates, self.exits = csr_array(self.rates[self.nodes][:, self.nodes]), self.exits[self.nodes]
        self.total = self.rates.sum(1) + self.exits.sum(1)
