"""The taxonomy of animals, and the species that a project allows.

The package ships `taxonomy.tsv`: the animals that the shipped classifier knows, and common ones of
camera traps. A classifier whose labels carry their ranks adds its own taxa, and so does a project's
list of species; where they disagree, the project wins, then the classifier.

A scientific name may be of any rank. Species and subspecies are shown with their common name, so a
beagle and a poodle are one species; a label of a higher taxon is shown unchanged.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import polars as pl

from odins_ravne_assets.munin.tables import schemas
from resources.errors import UsageError
from resources.settings.project import ListedSpecies

SHIPPED_TAXONOMY = Path(__file__).parent / "taxonomy.tsv"

# From the lowest to the highest rank.
ROLL_UP_RANKS = ("species", "genus", "family", "order", "class")
SPECIES_RANKS = ("species", "subspecies")
HIGHER_RANKS = ("class", "order", "family", "genus")


class Taxon(NamedTuple):
    """One row of `tables.TAXA`; an unknown rank's name is None."""

    scientific_name: str
    common_name: str | None
    rank: str | None
    class_: str | None = None
    order: str | None = None
    family: str | None = None
    genus: str | None = None

    @property
    def species(self) -> str | None:
        """The binomial of a species or subspecies; None for a higher taxon."""
        if self.rank not in SPECIES_RANKS:
            return None
        return " ".join(self.scientific_name.split()[:2])

    @property
    def lineage(self) -> tuple[str | None, ...]:
        """The taxon's names from species to class, in the order of ROLL_UP_RANKS."""
        return (self.species, self.genus, self.family, self.order, self.class_)


@dataclass(frozen=True)
class Taxonomy:
    """A taxonomy and a project's list of species.

    Attributes:
        taxa: by scientific name.
        listed: the scientific names, of any rank, on the project's list; None: all are allowed.
    """

    taxa: Mapping[str, Taxon]
    listed: frozenset[str] | None = None

    def allows(self, scientific_name: str | None) -> bool:
        """Return True if a name is on the list, or is above or below a listed taxon.

        A name that the taxonomy does not know is allowed only if there is no list.
        """
        if self.listed is None:
            return True
        if scientific_name is None:
            return False
        return scientific_name in self._allowed or not self.listed.isdisjoint(
            self._lineage(scientific_name)
        )

    def find(self, common_or_scientific: str) -> Taxon | None:
        """Return the taxon of a common or scientific name, ignoring case; None if unknown."""
        return self._by_any_name.get(common_or_scientific.strip().casefold())

    def common_names(self) -> list[str]:
        """Return all common names in lower case."""
        return [taxon.common_name.casefold() for taxon in self.taxa.values() if taxon.common_name]

    @cached_property
    def _by_any_name(self) -> dict[str, Taxon]:
        common = {
            taxon.common_name.casefold(): taxon for taxon in self.taxa.values() if taxon.common_name
        }
        return common | {taxon.scientific_name.casefold(): taxon for taxon in self.taxa.values()}

    @cached_property
    def _allowed(self) -> frozenset[str]:
        """The listed taxa and all taxa above them."""
        listed = self.listed or frozenset()
        return frozenset(name for each in listed for name in (each, *self._lineage(each)) if name)

    def _lineage(self, scientific_name: str) -> tuple[str | None, ...]:
        taxon = self.taxa.get(scientific_name)
        return taxon.lineage if taxon else (scientific_name,)

    def table(self) -> pl.DataFrame:
        """Return all taxa as rows of `tables.TAXA`."""
        return taxa_table(self.taxa.values())


def project_taxonomy(
    listed: Sequence[ListedSpecies], model_taxa: Mapping[str, Taxon] | None = None
) -> Taxonomy:
    """Return the shipped taxonomy with the taxa of a project and of a classifier.

    Args:
        listed: the project's list of species; empty: all species are allowed.
        model_taxa: the taxa of the classifier's labels.

    Raises:
        UsageError: a listed name is not in the taxonomy, and its row has no ranks.
    """
    taxa = shipped_taxa() | dict(model_taxa or {})
    own = {row.scientific_name: _listed_taxon(row, taxa) for row in listed}
    return Taxonomy(taxa | own, frozenset(own) if own else None)


def _listed_taxon(row: ListedSpecies, taxa: Mapping[str, Taxon]) -> Taxon:
    known = taxa.get(row.scientific_name)
    ranks: tuple[str | None, ...] = (row.class_, row.order, row.family, row.genus)
    if known is None and not any(ranks):
        close = difflib.get_close_matches(row.scientific_name, taxa, n=1)
        hint = f"did you mean {close[0]}? If not, " if close else ""
        raise UsageError(
            f"project.species: {row.scientific_name} is not in the taxonomy; {hint}fill in its "
            "columns class, order, family and genus"
        )
    if known:
        ranks = tuple(own or theirs for own, theirs in zip(ranks, known[3:], strict=True))
        return Taxon(row.scientific_name, row.common_name or known.common_name, known.rank, *ranks)
    rank_by_words = {2: "species", 3: "subspecies"}.get(len(row.scientific_name.split()))
    higher_rank = dict(zip(ranks, HIGHER_RANKS, strict=True)).get(row.scientific_name, "genus")
    return Taxon(row.scientific_name, row.common_name, rank_by_words or higher_rank, *ranks)


def shipped_taxa() -> dict[str, Taxon]:
    """Return the taxonomy that the package ships, by scientific name."""
    return dict(_shipped())


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Taxon]:
    rows = pl.read_csv(
        SHIPPED_TAXONOMY, separator="\t", schema=schemas.TAXA, quote_char=None, glob=False
    )
    return {row[0]: Taxon(*row) for row in rows.iter_rows()}


def taxa_table(taxa: Iterable[Taxon]) -> pl.DataFrame:
    """Return taxa as rows of `tables.TAXA`, ordered by scientific name."""
    return pl.DataFrame(list(taxa), schema=schemas.TAXA, orient="row").sort("scientific_name")


def taxa_from_table(table: pl.DataFrame) -> dict[str, Taxon]:
    """Return the taxa of rows of `tables.TAXA`, by scientific name."""
    return {row[0]: Taxon(*row) for row in table.iter_rows()}
