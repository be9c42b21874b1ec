"""Landscape analysis, one question a module: stationary points, wells, paths, basins, branches and rates."""
