"""What a fit matches: names and objects, offered as `workbench.match`.

    wb.fit(model, data, match="gradient")                                     a name: the object with default settings
    wb.fit(model, data, match=wb.match.Density(support))                      an object with its settings
    wb.fit(model, data, match={"potential": 1, "gradient": 10})               several, with relative weights
    wb.fit(model, data, match=[wb.match.Potential(), wb.match.Gradient()])    several of equal weight

A match of one's own is a class derived from `Quantity` or, for another kind of loss, from `Match`; it is known by its
name from its definition on.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from workbench.dataset import nearest
from workbench.losses.contract import MATCHES, Match
from workbench.losses.likelihood import Density
from workbench.losses.quantities import Gradient, Joint, Potential, Quantity, Velocity
from workbench.losses.shooting import Trajectory
from workbench.losses.stress import Stress

__all__ = [
    "Density",
    "Gradient",
    "Joint",
    "Match",
    "Potential",
    "Quantity",
    "Stress",
    "Trajectory",
    "Velocity",
    "known_matches",
    "parsed",
    "quantities",
]


def parsed(match: Any) -> Match:
    """Return the object that `match=` means.

    Parameters
    ----------
    match : str, Match, mapping or sequence
        A name, an object, a mapping of names or objects to weights, or several names or objects of equal weight.

    Returns
    -------
    Match

    Raises
    ------
    ValueError
        If a name is unknown, a match needs settings that are not given, or matches cannot stand together.
    TypeError
        If a class leaves an abstract method out.

    Examples
    --------
    >>> parsed("velocity"), parsed({"potential": 1, "gradient": 10}).weights
    (Velocity(), {'potential': 1.0, 'gradient': 10.0})
    """
    if isinstance(match, Mapping):
        matches, weights = [_one(each) for each in match], list(match.values())
    elif isinstance(match, Iterable) and not isinstance(match, str | Match):
        matches = [_one(each) for each in match]
        weights = [1.0] * len(matches)
    else:
        return _one(match)
    if not matches:
        raise ValueError(f"match is empty; name at least one of {', '.join(known_matches())}")
    joint = Joint(matches, weights) if len(matches) > 1 or matches[0].beside else matches[0]
    return joint if len(matches) > 1 else matches[0]


def known_matches() -> list[str]:
    """Return the names of all matches that are defined, those of this package and one's own."""
    return sorted(name for name, cls in MATCHES.items() if not cls.is_abstract() and cls is not Joint)


def quantities(match: Match | None = None) -> list[Quantity]:
    """Return the quantities of this package, and those of a match, which a potential predicts."""
    built_in: list[Quantity] = [Potential(), Gradient(), Velocity()]
    given = match.matches if isinstance(match, Joint) else [match]
    own = [each for each in given if isinstance(each, Quantity) and each not in built_in]
    return [*built_in, *own]


def _one(match: Any) -> Match:
    """Return the object of one name, or the object itself."""
    if isinstance(match, Match):
        return match
    if isinstance(match, str) and match in MATCHES and MATCHES[match] not in (Joint, Quantity):
        return MATCHES[match]()
    if isinstance(match, type) and issubclass(match, Match):
        raise ValueError(f"a match is an object, such as {match.__name__}(), got the class {match.__name__}")
    known = known_matches()
    hint = nearest(match, known) if isinstance(match, str) else ""
    raise ValueError(f"cannot match {match!r}{hint or '.'} Known: {', '.join(known)}")
