"""Licences of models of the catalogue: what they mean in one line, and which bind the user.

The names are SPDX identifiers (https://spdx.org/licenses).
"""

from typing import NamedTuple

from resources.errors import ModelError


class Licence(NamedTuple):
    """A licence; one that `binds` asks more of a user than to name the authors."""

    name: str
    meaning: str
    binds: bool


_LICENCES = (
    Licence("MIT", "any use; keep the copyright notice", False),
    Licence("Apache-2.0", "any use; keep the notices", False),
    Licence("CC0-1.0", "any use", False),
    Licence("CC-BY-4.0", "any use; name the authors", False),
    Licence(
        "AGPL-3.0",
        "whoever distributes a work with this model, or offers it over a network, must publish the "
        "whole work's source under the AGPL",
        True,
    ),
    Licence(
        "GPL-3.0",
        "whoever distributes a work with this model must publish the whole work's source under the "
        "GPL",
        True,
    ),
    Licence("CC-BY-SA-4.0", "name the authors; share adaptations under the same licence", True),
    Licence("CC-BY-NC-4.0", "no commercial use; name the authors", True),
    Licence(
        "CC-BY-NC-SA-4.0",
        "no commercial use; name the authors; share adaptations under the same licence",
        True,
    ),
    Licence(
        "CC-BY-NC-ND-4.0",
        "no commercial use; name the authors; share no adaptations",
        True,
    ),
)
LICENCES = {licence.name: licence for licence in _LICENCES}


def is_binding(names: str) -> bool:
    """Return True if one of several licences, joined by AND, binds the user.

    Licences that are not described bind.
    """
    licences = [LICENCES.get(name) for name in names.split(" AND ")]
    return any(licence is None or licence.binds for licence in licences)


def licence_of(name: str) -> Licence:
    """Return a licence by its SPDX identifier.

    Raises:
        ModelError: the catalogue does not describe it.
    """
    if name not in LICENCES:
        raise ModelError(f"licence {name}: unknown; the catalogue has {', '.join(LICENCES)}")
    return LICENCES[name]
