"""`datapackage.json` of Camtrap DP 1.0.2: the metadata of a package."""

import re
from collections.abc import Collection
from importlib.metadata import version
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.taxonomy import HIGHER_RANKS
from resources.settings.project import Project

CAMTRAP_DP_VERSION = "1.0.2"
SCHEMA_URL = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/{CAMTRAP_DP_VERSION}"
GENERATOR = "odins-ravne"
# The standard's ranks; a taxon of another rank has no `taxonRank`.
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

Json = dict[str, Any]


def datapackage(
    deployments: pl.DataFrame,
    observations: list[pl.DataFrame],
    project: Project,
    capture_methods: Collection[str],
) -> Json:
    """Return the metadata of a package, except `created`.

    Args:
        deployments: the deployments of the package, with the columns of Camtrap DP.
        observations: the observations in the package, of each camera.
        capture_methods: of the media.
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
            "captureMethod": sorted(capture_methods) or [project.capture_method],
            "individualAnimals": False,
            "observationLevel": ["event", "media"],
        },
        "spatial": _spatial(deployments),
        "temporal": {
            "start": deployments["deploymentStart"].str.slice(0, 10).min(),
            "end": deployments["deploymentEnd"].str.slice(0, 10).max(),
        },
        "taxonomic": _taxonomic(observations),
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
    """The distinct places as GeoJSON, longitude first."""
    places = deployments.select("longitude", "latitude").unique().sort("longitude", "latitude")
    return {"type": "MultiPoint", "coordinates": [list(place) for place in places.iter_rows()]}


def _taxonomic(observations: list[pl.DataFrame]) -> list[Json]:
    names = pl.concat(
        each.select("scientific_name", "species", "taxon_rank", *HIGHER_RANKS)
        for each in observations
    )
    taxa = names.filter(pl.col("scientific_name").is_not_null()).sort("scientific_name", "species")
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
    if any(row[rank] for rank in HIGHER_RANKS):
        taxon["kingdom"] = "Animalia"
    taxon |= {rank: row[rank] for rank in HIGHER_RANKS if row[rank]}
    taxon["vernacularNames"] = {"eng": row["species"]}
    return taxon
