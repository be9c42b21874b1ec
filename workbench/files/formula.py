"""The formulas of stored models, as text that defines them completely from the variables of their group."""

from typing import Any

__all__ = ["of_class", "of_landscape", "of_node", "of_play"]

LANDSCAPE = (
    "Psi(x) = potential_scale*P(z) + offset[member], z[state] = (x[state] - x_shift[state])/x_scale[state]. "
    "P(z) = -(1/rho)*log((1/N)*sum_i s_i*exp(-rho*f_i(z))), i = 1..N over mode, rho = rho[member], "
    "s_i = 1/(1 + exp(-10*(alpha_i/2 - 1))); all of alpha, V, W and b are taken at the member and mode. "
    "f_i of each member and mode is a network with layers k = 1..{layers}: "
    "a_1 = V1 z + b1; a_k = Vk z + softplus(Wk) h_(k-1) + bk for k = 2..{layers}, with h_k = softplus(a_k) and "
    "softplus(t) = log(1 + exp(t)) of every entry; f_i = a_{layers}, a number. "
    "Vk has the dims (hidden_k, state), Wk (hidden_k, hidden_(k-1)), bk (hidden_k); those of the last layer have no "
    "hidden_{layers}."
)
ENERGY = "P is that of the landscape: " + LANDSCAPE.replace("Psi(x)", "Psi_0(x)")
PLAY = (
    "Psi(E, h) = Psi_0(x) + potential_scale*(a/2)*(tr E/x_scale[trE])^2 + sum_i (h_i*q_i + B_i*h_i^2/2), where x are "
    "the invariants of the strain E that state names, q_i = potential_scale*(sum_l w[i, l]*z[l] + d[i]) over the "
    "linear invariants z[l] = (x[l] - x_shift[l])/x_scale[l], B_i = potential_scale*softplus(b[i]). "
)
NODE = (
    "Psi(E, h) = Psi_0(x), where x are the invariants of the strain E and the internal variables h that state names; "
    "the rate of h is given by a network with the weights rate_W1, rate_b1, … of the scaled inputs. "
)


def of_landscape(model: Any) -> str:
    """Return the formula of an `LSEICNN`, Eqs 3, 5 and 6 of Jones et al. (2025), doi:10.48550/arXiv.2506.17242."""
    return LANDSCAPE.format(layers=len(model.hidden) + 1)


def of_play(model: Any) -> str:
    """Return the formula of the energy of a `GeneralisedPlay`."""
    return PLAY + ENERGY.format(layers=len(model.potential.hidden) + 1)


def of_node(model: Any) -> str:
    """Return the formula of the energy of a `StateNODE`."""
    return NODE + ENERGY.format(layers=len(model.potential.hidden) + 1)


def of_class(model: Any) -> str:
    """Return where the formula of a class of one's own is written."""
    return (
        f"that of the class {type(model).__qualname__} of the module {type(model).__module__}; a potential is "
        "Psi(x) = potential_scale*value((x - x_shift)/x_scale) + offset[member]"
    )
