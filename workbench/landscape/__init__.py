"""Analysis of energy landscapes: stationary points, wells, paths, basins, branches and rates, one module each."""
