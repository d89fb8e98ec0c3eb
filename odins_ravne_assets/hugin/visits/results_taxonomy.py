"""The taxonomy of a camera's results, read from its tables and its report."""

from collections.abc import Iterable
from contextlib import ExitStack

from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy, project_taxonomy
from odins_ravne_assets.hugin.visits.stage3 import read_model_taxa
from resources.settings.project import ListedSpecies
from resources.storage.layout import REPORT_JSON
from resources.storage.object_store import ObjectStore
from resources.storage.stored_json import REPORT_REMEDY, read_json_object


def results_taxonomy(
    store: ObjectStore, results: ObjectStore, species: Iterable[ListedSpecies] = ()
) -> Taxonomy:
    """Return the taxonomy of a camera: the shipped one, its classifier's and its project's.

    Args:
        store: the camera's output, with `tables/`.
        results: the store with `stage3/`: `store`, or the folder of a re-run.
        species: taxa of the project in addition to those that Stage 3 used.

    Raises:
        StoreError: a table or `report.json` is missing or damaged.
        UsageError: a listed species is not in the taxonomy.
    """
    report = read_json_object(results, REPORT_JSON, REPORT_REMEDY)
    used = [ListedSpecies.model_validate(row) for row in report.get("species_list", [])]
    with ExitStack() as stack:
        model_taxa = read_model_taxa(store, stack)
    return project_taxonomy([*used, *species], model_taxa)
