"""Entries of the catalogue: facts about a model, where it is downloaded, and its manifest."""

from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from gpu_kernels.models.catalogue.regions import ALL_COUNTRIES, countries_of, regions_of
from gpu_kernels.models.licences import LICENCES, Licence, is_binding
from gpu_kernels.models.manifest import describe_error
from gpu_kernels.models.manifest_sections import Sha256
from gpu_kernels.models.models_folder import MODEL_NAME, MODEL_NAME_RULE
from gpu_kernels.models.toml_file import CANNOT_BE_READ, TomlError, read_toml
from resources.errors import ModelError, UsageError

ENTRIES = Path(__file__).parent / "entries"
LABEL_TABLES = Path(__file__).parent / "labels"

Line = Annotated[str, Field(min_length=1, pattern=r"^[^\n\r\x00-\x1f]+$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
# Which addresses may be read is decided when they are: https, and http of this machine.
Address = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]  # ISO 3166-1 alpha-2


def _is_member(path: str) -> str:
    if "\\" in path or "\0" in path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise ValueError("a member is a relative path with forward slashes")
    return path


# The path of a file in an archive.
Member = Annotated[str, AfterValidator(_is_member)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Fact(_Section):
    """What an entry knows, from where, and of which day the source is."""

    what: Line
    source: Line
    date: date


class Download(_Section):
    """Where the model is downloaded, and how it is checked.

    One of: `sha256`; `md5`; `md5_from`, the address of a Zenodo record (JSON) that lists the MD5 of
    its files. With none of them, the SHA-256 is recorded on first use and reported.
    """

    url: Address
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    md5_from: Address | None = None
    max_mb: Annotated[float, Field(gt=0, le=8192)]  # the largest download that is accepted
    # The ONNX file in the archive, if the download is a zip archive; and its checksum.
    member: Member | None = None
    member_sha256: Sha256 | None = None
    # The package's own description of its model: `sparrow` is the format of the Sparrow model zoo.
    package: Literal["sparrow"] | None = None

    @property
    def file_name(self) -> str:
        """The name of the downloaded file, for `--from`."""
        parts = [part for part in self.url.split("?")[0].split("/") if part != "content"]
        return parts[-1]

    @model_validator(mode="after")
    def _one_checksum(self) -> Self:
        if sum(each is not None for each in (self.sha256, self.md5, self.md5_from)) > 1:
            raise ValueError("give one of sha256, md5 and md5_from")
        if self.package and not self.member:
            raise ValueError("a package needs a member")
        return self


class LabelSource(_Section):
    """Where the labels of a classifier come from.

    Args:
        table: our table of label, scientific name and is_animal, in the folder `labels`.
        member: the list of labels in the archive, which gives their order. Their scientific names
            are those of `table`.
    """

    table: Annotated[str, Field(pattern=r"^[a-z0-9-]+\.tsv$")] | None = None
    member: Member | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if not (self.table or self.member):
            raise ValueError("give a table, a member, or both")
        return self


class CatalogueEntry(_Section):
    """A model of the catalogue.

    `manifest` holds the sections of the model's manifest (`gpu_kernels.models.manifest`) that are
    published; what is missing is read from the downloaded package.
    """

    name: Annotated[str, Field(max_length=64)]
    task: Literal["detector", "classifier"]
    finds: Line
    region: Line  # for people: "world", "Europe", "Tasmania"
    countries: tuple[Country, ...] = ()  # where it was made for; empty: everywhere
    # The same as [south, west, north, east] in degrees.
    areas: tuple[tuple[float, float, float, float], ...] = ()
    suggested: bool = True  # for ordinary cameras of the region; False: for special ones only
    licence: Line
    licence_note: Line | None = None
    size_mb: Annotated[float, Field(gt=0)] | None = None  # of the network; None: not published
    input: Line
    speed: Literal["fast", "medium", "slow", "very slow"]
    description: Line
    limitations: Line
    home: Address
    citation: str = ""
    download: Download
    labels: LabelSource | None = None
    manifest: dict[str, Any]
    facts: Annotated[tuple[Fact, ...], Field(min_length=1)]

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not MODEL_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name: it must have {MODEL_NAME_RULE}")
        return name

    @field_validator("licence")
    @classmethod
    def _is_described(cls, licence: str) -> str:
        for name in licence.split(" AND "):
            if name not in LICENCES:
                raise ValueError(
                    f"{name!r} is not one of the known licences: {', '.join(LICENCES)}; of several "
                    "that apply together, join the names with AND"
                )
        return licence

    @field_validator("countries")
    @classmethod
    def _are_countries(cls, countries: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [each for each in countries if each not in ALL_COUNTRIES]:
            raise ValueError(f"{', '.join(unknown)}: not two letters of ISO 3166-1, as GB")
        return countries

    @field_validator("areas")
    @classmethod
    def _are_areas(
        cls, areas: tuple[tuple[float, float, float, float], ...]
    ) -> tuple[tuple[float, float, float, float], ...]:
        for south, west, north, east in areas:
            if not (-90 <= south < north <= 90 and -180 <= west < east <= 180):
                raise ValueError("an area is [south, west, north, east] in degrees")
        return areas

    @model_validator(mode="after")
    def _labels_match_task(self) -> Self:
        if (self.labels is not None) != (self.task == "classifier"):
            raise ValueError("a classifier, and only a classifier, needs a [labels] section")
        return self

    @property
    def licences(self) -> list[Licence]:
        """The licences that apply together."""
        return [LICENCES[name] for name in self.licence.split(" AND ")]

    @property
    def binds(self) -> bool:
        """True if the licence must be accepted."""
        return is_binding(self.licence)

    @property
    def is_regional(self) -> bool:
        """True if the model is for a part of the world."""
        return bool(self.countries)

    def covers(self, latitude: float, longitude: float) -> bool:
        """Return True if a place is in one of the entry's areas."""
        return any(
            south <= latitude <= north and west <= longitude <= east
            for south, west, north, east in self.areas
        )


def load_entry(path: Path) -> CatalogueEntry:
    """Read an entry of the catalogue.

    Raises:
        ModelError: it cannot be read or is invalid.
    """
    try:
        return CatalogueEntry.model_validate(read_toml(path))
    except TomlError as error:
        reason = str(error).removeprefix(CANNOT_BE_READ)
        raise ModelError(f"catalogue entry {path}: {CANNOT_BE_READ}{reason}") from None
    except ValidationError as error:
        raise ModelError(f"catalogue entry {path}: {describe_error(error)}") from None


def is_entry(path: Path) -> bool:
    """Return True if a TOML file is an entry of a catalogue: it has a [download] section."""
    try:
        return "download" in read_toml(path)
    except TomlError:
        return False


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """Return all entries by name: detectors first, then classifiers, each in order of names."""
    entries = [load_entry(path) for path in sorted(ENTRIES.glob("*.toml"))]
    entries.sort(key=lambda entry: (entry.task != "detector", entry.is_regional, entry.name))
    return {entry.name: entry for entry in entries}


def find_entry(name: str) -> CatalogueEntry:
    """Return an entry by its name.

    Raises:
        UsageError: the catalogue has no such model.
    """
    if name in catalogue():
        return catalogue()[name]
    from difflib import get_close_matches

    close = get_close_matches(name.lower(), catalogue(), n=1, cutoff=0.65)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UsageError(
        f"model {name}: not in the catalogue; {hint}`munin models catalogue` lists the models"
    )


def entries_for(region: str | None = None, country: str | None = None) -> list[CatalogueEntry]:
    """Return the entries for a region or a country, with those for the whole world.

    Args:
        region: a continent, a part of one, or a part of an entry's region.
        country: an ISO 3166-1 alpha-2 code.

    Raises:
        UsageError: there is no such region or country.
    """
    found = list(catalogue().values())
    if region:
        found = [each for each in found if not each.is_regional or _is_in(each, region)]
        _require_known(region, found)
    if country:
        if country.upper() not in ALL_COUNTRIES:
            raise UsageError(f"--country {country}: must be two letters of ISO 3166-1, as SE or GB")
        found = [e for e in found if not e.is_regional or country.upper() in e.countries]
    return found


def _is_in(entry: CatalogueEntry, region: str) -> bool:
    countries = countries_of(region) or frozenset()
    named = region.strip().casefold() in entry.region.casefold()
    return named or not countries.isdisjoint(entry.countries)


def _require_known(region: str, found: list[CatalogueEntry]) -> None:
    """Check that a region is known.

    Raises:
        UsageError: it is not.
    """
    named = any(entry.is_regional for entry in found) and region.strip()
    if named or countries_of(region) is not None or region.strip().casefold() == "world":
        return
    of_entries = frozenset(code for entry in catalogue().values() for code in entry.countries)
    raise UsageError(
        f"--region {region}: not known; use one of {', '.join(regions_of(of_entries))}, a part of "
        "a region in the catalogue, as Tasmania, or --country with two letters, as SE"
    )


def classifiers_at(places: "list[tuple[float, float]]") -> list[CatalogueEntry]:
    """Return the regional classifiers whose areas hold every place, the smallest areas first.

    Args:
        places: latitude and longitude in degrees.
    """
    found = [
        entry
        for entry in catalogue().values()
        if entry.task == "classifier"
        and entry.suggested
        and places
        and all(entry.covers(*place) for place in places)
    ]
    return sorted(found, key=_extent)


def _extent(entry: CatalogueEntry) -> float:
    """Return the sum of an entry's areas, in square degrees."""
    return sum((north - south) * (east - west) for south, west, north, east in entry.areas)
