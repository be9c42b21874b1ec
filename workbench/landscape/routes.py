"""The lowest way between two minima over a saddle graph: the sequence of saddles whose highest is lowest."""

import heapq
from collections.abc import Sequence

import numpy as np

__all__ = ["lowest_route"]


def lowest_route(
    joins: Sequence[Sequence[int]], heights: Sequence[float], first: int, last: int
) -> list[tuple[int, int]] | None:
    """Return the saddles from one minimum to another with the lowest maximum, and of these the fewest.

    Parameters
    ----------
    joins : sequence of two int each
        The minima on the two sides of each saddle, −1 where there is none.
    heights : sequence of float
        Ψ at the saddles.
    first, last : int
        The two minima.

    Returns
    -------
    list of (int, int) or None
        Saddle and side of entry, in order; None if no sequence of saddles joins the minima.

    Examples
    --------
    >>> lowest_route([(0, 1), (0, 2), (2, 1)], [5.0, 2.0, 3.0], 0, 1)
    [(1, 0), (2, 0)]
    """
    queue: list[tuple[float, int, int, list[tuple[int, int]]]] = [(-np.inf, 0, int(first), [])]
    visited = set()
    while queue:
        highest, count, here, route = heapq.heappop(queue)
        if here == last:
            return route
        if here not in visited:
            visited.add(here)
            for k, joined in enumerate(joins):
                for side in (0, 1):
                    if joined[side] == here and joined[1 - side] >= 0:
                        height = max(highest, float(heights[k]))
                        heapq.heappush(queue, (height, count + 1, int(joined[1 - side]), [*route, (k, side)]))
    return None
