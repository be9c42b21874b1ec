"""Fitting: the function `fit`, its task, its result and its optimisers."""
