"""Identification: the label of a detection, its roll-up, or the vote of its sequence."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from odins_ravne_assets.hugin.identification.identifications import Identifications, identify
from odins_ravne_assets.hugin.identification.name_threshold import apply_name_threshold
from odins_ravne_assets.hugin.identification.sequence_vote import vote_by_sequence
from odins_ravne_assets.hugin.identification.taxonomy import ROLL_UP_RANKS, Taxonomy, shipped_taxa
from odins_ravne_assets.hugin.review.corrections import without_corrections
from odins_ravne_assets.hugin.visits.observations import compress
from odins_ravne_assets.munin.tables import schemas
from resources.settings.profile import Stage2Settings, Stage3

Row = dict[str, Any]

NOON = datetime(2026, 5, 1, 12)
SECOND = timedelta(seconds=1)
ANYTHING = Taxonomy(shipped_taxa())
NAMES = {
    "red fox": "Vulpes vulpes",
    "kit fox": "Vulpes macrotis",
    "coyote": "Canis latrans",
    "grey wolf": "Canis lupus",
    "beagle": "Canis familiaris",
    "poodle": "Canis familiaris",
    "roe deer": "Capreolus capreolus",
    "badger": "Mustelidae",
    "zebra": "Equus",
    "teapot": None,
}


def box(label: str, confidence: float, second: float = 0, **columns: Any) -> Row:
    """A row of the classifications, `auto_ok` from 0.5 on; `others` are its further guesses."""
    others = columns.pop("others", {})
    guesses = {label: confidence, **others}
    row: Row = {
        "camera_id": "camera7",
        "path": f"{second}.jpg",
        "kind": "image",
        "frame_number": 0,
        "box_number": 0,
        "time_offset_ms": 0,
        "captured_at": NOON + second * SECOND,
        "category": "animal",
        "detection_confidence": 0.9,
        "label": label,
        "scientific_name": NAMES[label],
        "confidence": confidence,
        "auto_ok": confidence >= 0.5 and label != "teapot",
        "top5": [
            {"label": name, "scientific_name": NAMES[name], "confidence": each}
            for name, each in guesses.items()
        ],
    }
    row |= columns
    row["detection_id"] = f"{row['path']}-{row['frame_number']}-{row['box_number']}"
    return {name: row.get(name) for name in schemas.CLASSIFICATIONS}


def identified_rows(rows: list[Row], taxonomy: Taxonomy = ANYTHING) -> list[Row]:
    return named_rows(identifications(rows, taxonomy))


def identifications(rows: list[Row], taxonomy: Taxonomy = ANYTHING) -> Identifications:
    table = pl.LazyFrame(rows, schema=schemas.CLASSIFICATIONS)
    return identify(table, taxonomy, Stage3().roll_up)


def named_rows(identified: Identifications) -> list[Row]:
    return identified.rows.join(
        identified.names.table(), on="name", how="left", maintain_order="left"
    ).to_dicts()


def species(row: Row, taxonomy: Taxonomy = ANYTHING) -> tuple[str, str | None, float]:
    (found,) = identified_rows([row], taxonomy)
    return found["species"], found["scientific_name"], pytest.approx(found["confidence"])


def voted(rows: list[Row], **settings: Any) -> list[Row]:
    return named_rows(vote_by_sequence(identifications(rows), ANYTHING, Stage3(**settings)))


def names_after(rows: list[Row], **settings: Any) -> list[str]:
    return [row["species"] for row in voted(rows, **settings)]


# Labels and their taxonomy


def test_every_animal_of_the_shipped_classifier_is_in_the_taxonomy() -> None:
    from gpu_kernels.models.labels import load_labels
    from gpu_kernels.models.manifest import load_manifest

    labels = load_labels(load_manifest("efficientnet-lite3"))
    named = {label.scientific_name for label in labels if label.is_animal and label.scientific_name}
    assert named <= shipped_taxa().keys()


def test_the_taxonomy_is_a_tree_with_unique_common_names() -> None:
    taxa = shipped_taxa()
    for taxon in taxa.values():
        for rank, name in zip(ROLL_UP_RANKS, taxon.lineage, strict=True):
            if name and rank != "species":
                assert taxa[name].rank == rank
                known = zip(taxa[name].lineage, taxon.lineage, strict=True)
                assert all(theirs in (None, ours) for theirs, ours in known)
    common = [taxon.common_name for taxon in taxa.values() if taxon.common_name]
    assert len(set(common)) == len(common)


def test_breeds_are_one_species_and_labels_of_higher_taxa_are_unchanged() -> None:
    assert species(box("beagle", 0.9)) == species(box("poodle", 0.9))
    assert species(box("beagle", 0.9))[:2] == ("domestic dog", "Canis familiaris")
    assert species(box("badger", 0.9))[:2] == ("badger", "Mustelidae")


# Roll-up


def test_guesses_of_one_species_are_summed() -> None:
    assert species(box("beagle", 0.4, others={"poodle": 0.3})) == (
        "domestic dog",
        "Canis familiaris",
        0.7,
    )


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({"kit fox": 0.25}, ("fox", "Vulpes", 0.65)),
        ({"coyote": 0.25}, ("canid", "Canidae", 0.65)),
        ({"badger": 0.25}, ("carnivoran", "Carnivora", 0.65)),
        ({"zebra": 0.25}, ("mammal", "Mammalia", 0.65)),
        ({"coyote": 0.24}, ("unknown animal", None, 0.9)),
        ({"teapot": 0.5}, ("unknown animal", None, 0.9)),
    ],
)
def test_an_uncertain_label_rolls_up_to_the_lowest_taxon_that_reaches_the_threshold(
    others: dict[str, float], expected: tuple[str, str | None, float]
) -> None:
    assert species(box("red fox", 0.4, others=others)) == expected


# The project's list of species


def listing(*names: str) -> Taxonomy:
    return Taxonomy(shipped_taxa(), frozenset(names))


def test_a_label_outside_of_the_list_rolls_up_to_a_taxon_shared_with_the_list() -> None:
    kit_fox = box("kit fox", 0.9)
    assert species(kit_fox, listing("Vulpes vulpes")) == ("fox", "Vulpes", 0.9)
    assert species(kit_fox, listing("Canis lupus")) == ("canid", "Canidae", 0.9)
    assert species(kit_fox, listing("Aves"))[0] == "unknown animal"


def test_a_listed_family_allows_all_of_its_species() -> None:
    assert species(box("kit fox", 0.9), listing("Canidae"))[0] == "kit fox"


def test_guesses_outside_of_the_list_count_for_the_taxa_they_share_with_it() -> None:
    row = box("coyote", 0.6, others={"red fox": 0.3, "kit fox": 0.05})
    assert species(row, listing("Vulpes vulpes")) == ("canid", "Canidae", 0.95)


# Sequence votes


def test_a_sequence_gets_the_species_with_most_confidence() -> None:
    rows = [box("red fox", 0.9, 0), box("red fox", 0.8, 2), box("coyote", 0.6, 4)]
    after = voted(rows)
    assert [row["species"] for row in after] == ["red fox"] * 3
    assert [row["relabelled"] for row in after] == [False, False, True]
    assert after[2]["vote_share"] == pytest.approx(1.7 / 2.3)


def test_an_outvoted_detection_gets_at_most_the_best_confidence_of_the_winner() -> None:
    unknown = box("coyote", 0.2, 4, detection_confidence=0.95)
    after = voted([box("red fox", 0.7, 0), box("red fox", 0.6, 2), unknown])
    assert after[2]["species"] == "red fox"
    assert after[2]["confidence"] == pytest.approx(0.7)


def test_a_species_cannot_win_without_a_confident_detection() -> None:
    assert (
        names_after([box("red fox", 0.45, second) for second in range(5)]) == ["unknown animal"] * 5
    )


def test_species_of_one_genus_or_family_are_named_by_it() -> None:
    wolves = [box("grey wolf", 0.6, 0), box("beagle", 0.6, 2)]
    assert names_after(wolves) == ["dog, wolf or coyote"] * 2
    assert names_after([*wolves, box("red fox", 0.7, 4)]) == ["canid"] * 3


def test_a_sequence_without_a_winner_keeps_its_names_and_is_disputed() -> None:
    after = voted([box("red fox", 0.6, 0), box("roe deer", 0.6, 2)])
    assert [row["species"] for row in after] == ["red fox", "roe deer"]
    assert all(row["disputed"] for row in after)


def test_a_confident_detection_in_one_frame_with_the_winner_keeps_its_name() -> None:
    foxes = [box("red fox", 0.9, second) for second in range(5)]
    same_frame = box("roe deer", 0.85, 4, box_number=1)
    other_frame = box("roe deer", 0.85, 6)
    uncertain = box("roe deer", 0.79, 4, box_number=1)
    assert names_after([*foxes, same_frame])[-1] == "roe deer"
    assert names_after([*foxes, other_frame])[-1] == "red fox"
    assert names_after([*foxes, uncertain])[-1] == "red fox"


def test_a_sequence_ends_after_the_gap_and_at_the_camera() -> None:
    foxes = [box("red fox", 0.9, 0), box("red fox", 0.9, 1)]
    for late, expected in ((61, "red fox"), (62, "coyote")):
        assert names_after([*foxes, box("coyote", 0.5, late)], burst_gap=60)[-1] == expected
    elsewhere = box("coyote", 0.5, 2, camera_id="camera8")
    assert names_after([*foxes, elsewhere])[-1] == "coyote"
    assert names_after([*foxes, box("coyote", 0.5, 2)], burst_gap=0)[-1] == "coyote"


def test_each_medium_without_a_time_is_a_sequence() -> None:
    clip = {"kind": "video", "captured_at": None, "path": "a.mp4"}
    rows = [box("red fox", 0.9, frame_number=number, **clip) for number in range(3)]
    other = box("coyote", 0.5, captured_at=None, path="b.jpg")
    same = box("coyote", 0.5, frame_number=3, **clip)
    assert names_after([*rows, same, other]) == ["red fox"] * 4 + ["coyote"]


def test_people_and_vehicles_do_not_vote() -> None:
    person = box("zebra", 0.9, 1, category="person", auto_ok=True)
    after = voted([box("red fox", 0.6, 0), person])
    assert [row["species"] for row in after] == ["red fox", "person"]
    assert after[0]["vote_share"] is None


def test_a_disputed_observation_needs_review_and_is_flagged() -> None:
    rows = [box("red fox", 0.9, 0), box("roe deer", 0.9, 2), box("grey wolf", 0.9, 600)]
    after = vote_by_sequence(identifications(rows), ANYTHING, Stage3())
    after = apply_name_threshold(after, Stage3())
    found = compress(without_corrections(after), ANYTHING, Stage3()).observations
    assert found.select("species", "flags", "needs_review").rows() == [
        ("red fox", ["votes_disagree"], True),
        ("roe deer", ["votes_disagree"], True),
        ("grey wolf", [], False),
    ]


def test_the_count_is_the_most_boxes_in_one_frame() -> None:
    rows = [
        box("red fox", 0.9, second, box_number=number)
        for second, boxes in ((0, 1), (5, 3), (9, 2))
        for number in range(boxes)
    ]
    found = compress(
        without_corrections(
            apply_name_threshold(
                vote_by_sequence(identifications(rows), ANYTHING, Stage3()), Stage3()
            )
        ),
        ANYTHING,
        Stage3(),
    ).observations
    assert found.select("count", "detection_count", "frame_count").rows() == [(3, 6, 3)]


SHARES = st.lists(st.floats(0.01, 1), min_size=1, max_size=5).map(
    lambda numbers: sorted((n / max(1.0, sum(numbers)) for n in numbers), reverse=True)
)
KNOWN_LABELS = [name for name, latin in NAMES.items() if latin]


@hypothesis_settings(deadline=None)
@given(st.permutations(KNOWN_LABELS), SHARES)
def test_a_label_at_the_default_threshold_has_the_name_that_its_guesses_add_up_to(
    labels: list[str], shares: list[float]
) -> None:
    """`auto_ok_threshold` equals `roll_up`, as in SpeciesNet's ensemble: one rule of 0.65.

    At 0.5, a label of 0.6 would name an animal that roll-up leaves without a species.
    """
    first, *others = zip(labels, shares, strict=False)
    guesses = dict(others)
    threshold = Stage2Settings().auto_ok_threshold
    by_label = box(*first, others=guesses, auto_ok=first[1] >= threshold)
    by_guesses = box(*first, others=guesses, auto_ok=False)
    # The sum of a species with several labels may be higher than one of them.
    assert species(by_label)[1] == species(by_guesses)[1]
