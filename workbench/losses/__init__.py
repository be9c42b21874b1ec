"""Losses minimised by a fit: least squares, likelihood and multiple shooting, as functions of one parameter vector."""
