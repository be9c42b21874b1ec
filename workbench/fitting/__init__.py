"""Fitting, who minimises: the verb, its task, its result, its optimisers."""
