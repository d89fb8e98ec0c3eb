"""The taxa of `privacy.sensitive_species`: which names they are, and which visits they cover.

A visit is covered if its taxon is a sensitive one, or below one, or above one: `Felidae` may be a
lynx. "unknown animal" has no taxon, and is not covered.
"""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import UNKNOWN_ANIMAL
from odins_ravne_assets.hugin.identification.taxonomy import HIGHER_RANKS, Taxon, Taxonomy
from resources.errors import UsageError

SETTING = "privacy.sensitive_species"
# Columns of `tables.OBSERVATIONS` that name a taxon.
TAXON_COLUMNS = ("species", "scientific_name", *HIGHER_RANKS)
# An ancestor of everything covers nothing.
ROOT_NAMES = frozenset({"animalia", "animal", UNKNOWN_ANIMAL})


@dataclass(frozen=True)
class SensitiveTaxa:
    """Sensitive taxa, as folded scientific names.

    Attributes:
        names: the taxa.
        above: all taxa that contain one of them.
        names_by_common_name: scientific names by common name, of the whole taxonomy.
        parents: the taxa above each taxon of the taxonomy.
    """

    names: frozenset[str]
    above: frozenset[str]
    names_by_common_name: Mapping[str, frozenset[str]]
    parents: Mapping[str, frozenset[str]]

    def cover(self, observation: Mapping[str, Any]) -> bool:
        """Return True if an observation is, or may be, of a sensitive taxon.

        Args:
            observation: TAXON_COLUMNS of a row of `tables.OBSERVATIONS`.
        """
        own = self._own_names(observation)
        ranks = {fold(observation[rank]) for rank in HIGHER_RANKS if observation[rank]}
        own_and_above = _closure(own | ranks, self.parents)
        return not self.names.isdisjoint(own_and_above) or not self.above.isdisjoint(own)

    def cover_any(self, observations: pl.DataFrame) -> bool:
        """Return True if one of the rows of `tables.OBSERVATIONS` is covered."""
        if not self.names:
            return False
        taxa = observations.filter(pl.col("category") == "animal").select(TAXON_COLUMNS).unique()
        return any(self.cover(row) for row in taxa.iter_rows(named=True))

    def _own_names(self, observation: Mapping[str, Any]) -> frozenset[str]:
        """The scientific names that an observation's labels stand for."""
        scientific, label = (fold(observation[key] or "") for key in ("scientific_name", "species"))
        if scientific:
            binomial = " ".join(scientific.split()[:2])
            return frozenset({scientific, binomial}) - ROOT_NAMES
        return (self.names_by_common_name.get(label, frozenset()) | {label}) - ROOT_NAMES - {""}


def sensitive_taxa(names: Iterable[str], taxonomies: Iterable[Taxonomy]) -> SensitiveTaxa:
    """Return the taxa of a setting.

    Args:
        names: common or scientific names of any rank, in any case.
        taxonomies: a name is known if one of them has it.

    Raises:
        UsageError: no taxonomy has a name.
    """
    wanted = list(names)
    taxa = [taxon for each in taxonomies for taxon in each.taxa.values()] if wanted else []
    common, parents = _common_names(taxa), _parents(taxa)
    known = parents.keys()
    found: set[str] = set()
    for name in wanted:
        folded = fold(name)
        matches = common.get(folded, frozenset()) | ({folded} & known)
        if not matches:
            raise UsageError(_unknown(name, {**parents, **common}, taxa))
        found |= matches
    return SensitiveTaxa(frozenset(found), _closure(found, parents) - found, common, parents)


def fold(name: str) -> str:
    """Return a name without differences of case and spaces."""
    return " ".join(name.replace("_", " ").split()).casefold()


def _common_names(taxa: Iterable[Taxon]) -> dict[str, frozenset[str]]:
    names: dict[str, set[str]] = defaultdict(set)
    for taxon in taxa:
        if taxon.common_name:
            names[fold(taxon.common_name)].add(fold(taxon.scientific_name))
    return {common: frozenset(scientific) for common, scientific in names.items()}


def _parents(taxa: Iterable[Taxon]) -> dict[str, frozenset[str]]:
    """Every name of the taxonomy, with the names above it."""
    parents: dict[str, set[str]] = defaultdict(set)
    for taxon in taxa:
        chain = [fold(name) for name in (taxon.scientific_name, *taxon.lineage) if name]
        for number, name in enumerate(chain):
            parents[name] |= set(chain[number + 1 :]) - {name}
    return {name: frozenset(above) for name, above in parents.items()}


def _closure(names: Iterable[str], parents: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """All names above the given ones, and these."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(parents.get(name, ()))
    return frozenset(found)


def _unknown(name: str, known: Iterable[str], taxa: Iterable[Taxon]) -> str:
    close = difflib.get_close_matches(fold(name), list(known), n=1)
    shown = {fold(taxon.scientific_name): taxon.scientific_name for taxon in taxa}
    hint = f"did you mean {shown.get(close[0], close[0])}? If not, " if close else ""
    return (
        f"{SETTING}: {name!r} is unknown; {hint}use a common or scientific name of the taxonomy, "
        "or add it with its ranks to project.species"
    )
