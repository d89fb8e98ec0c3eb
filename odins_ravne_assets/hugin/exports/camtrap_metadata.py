"""`datapackage.json` of Camtrap DP 1.0.2: what a package says of itself."""

import re
from importlib.metadata import version
from typing import Any

import polars as pl

from resources.settings.project import Project

CAMTRAP_DP_VERSION = "1.0.2"
SCHEMA_URL = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/{CAMTRAP_DP_VERSION}"
GENERATOR = "odins-ravne"
# The standard's ranks; names of ranks between them go without one.
CAMTRAP_DP_RANKS = (
    "kingdom",
    "phylum",
    "class",
    "order",
    "family",
    "genus",
    "species",
    "subspecies",
)
RANKS_ABOVE_SPECIES = ("class", "order", "family", "genus")

Json = dict[str, Any]


def datapackage(deployments: pl.DataFrame, visits: list[pl.DataFrame], project: Project) -> Json:
    """The package's metadata, but for `created`.

    Args:
        deployments: the package's, with the columns of Camtrap DP.
        visits: of each camera, those that are in the package.
    """
    package: Json = {
        "name": _slug(project.title),
        "title": project.title,
        "profile": f"{SCHEMA_URL}/camtrap-dp-profile.json",
        "contributors": [
            {"title": name, "role": "contributor" if number else "contact"}
            for number, name in enumerate(project.contributors)
        ],
        "sources": [{"title": GENERATOR, "version": version(GENERATOR)}],
        "project": {
            "title": project.title,
            "samplingDesign": project.sampling_design,
            "captureMethod": [project.capture_method],
            "individualAnimals": False,
            "observationLevel": ["event", "media"],
        },
        "spatial": _spatial(deployments),
        "temporal": {
            "start": deployments["deploymentStart"].str.slice(0, 10).min(),
            "end": deployments["deploymentEnd"].str.slice(0, 10).max(),
        },
        "taxonomic": _taxonomic(visits),
        "resources": [_resource(name) for name in ("deployments", "media", "observations")],
    }
    return package


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-") or "camera-traps"


def _resource(name: str) -> Json:
    return {
        "name": name,
        "path": f"{name}.csv",
        "profile": "tabular-data-resource",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "schema": f"{SCHEMA_URL}/{name}-table-schema.json",
    }


def _spatial(deployments: pl.DataFrame) -> Json:
    """GeoJSON of the places, each once; longitude first, as there."""
    places = deployments.select("longitude", "latitude").unique().sort("longitude", "latitude")
    return {"type": "MultiPoint", "coordinates": [list(place) for place in places.iter_rows()]}


def _taxonomic(visits: list[pl.DataFrame]) -> list[Json]:
    seen = pl.concat(
        each.select("scientific_name", "species", "taxon_rank", *RANKS_ABOVE_SPECIES)
        for each in visits
    )
    taxa = seen.filter(pl.col("scientific_name").is_not_null()).sort("scientific_name", "species")
    return [
        _taxon(row)
        for row in taxa.unique("scientific_name", keep="first", maintain_order=True).iter_rows(
            named=True
        )
    ]


def _taxon(row: Json) -> Json:
    taxon: Json = {"scientificName": row["scientific_name"]}
    if row["taxon_rank"] in CAMTRAP_DP_RANKS:
        taxon["taxonRank"] = row["taxon_rank"]
    if any(row[rank] for rank in RANKS_ABOVE_SPECIES):
        taxon["kingdom"] = "Animalia"
    taxon |= {rank: row[rank] for rank in RANKS_ABOVE_SPECIES if row[rank]}
    taxon["vernacularNames"] = {"eng": row["species"]}
    return taxon
