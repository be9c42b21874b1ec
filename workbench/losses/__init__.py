"""Losses, what a fit minimises: squares, likelihoods, shooting, each as a problem of one flat vector of parameters."""
