"""Regions of the world and their countries, for `munin models catalogue --region`.

The parts are those of the United Nations' standard M49 (https://unstats.un.org/unsd/methodology/m49,
2026-11-28) with the two letters of ISO 3166-1; Kosovo (XK) and Taiwan (TW), which it does not list,
are with their neighbours.
"""

_PARTS = {
    "Northern Africa": "DZ EG EH LY MA SD TN",
    "Eastern Africa": "BI DJ ER ET IO KE KM MG MU MW MZ RE RW SC SO SS TF TZ UG YT ZM ZW",
    "Central Africa": "AO CD CF CG CM GA GQ ST TD",
    "Southern Africa": "BW LS NA SZ ZA",
    "Western Africa": "BF BJ CI CV GH GM GN GW LR ML MR NE NG SH SL SN TG",
    "Caribbean": "AG AI AW BB BL BQ BS CU CW DM DO GD GP HT JM KN KY LC MF MQ MS PR SX TC TT VC "
    "VG VI",
    "Central America": "BZ CR GT HN MX NI PA SV",
    "South America": "AR BO BR BV CL CO EC FK GF GS GY PE PY SR UY VE",
    "Northern America": "BM CA GL PM US",
    "Antarctica": "AQ",
    "Central Asia": "KG KZ TJ TM UZ",
    "Eastern Asia": "CN HK JP KP KR MN MO TW",
    "South-eastern Asia": "BN ID KH LA MM MY PH SG TH TL VN",
    "Southern Asia": "AF BD BT IN IR LK MV NP PK",
    "Western Asia": "AE AM AZ BH CY GE IL IQ JO KW LB OM PS QA SA SY TR YE",
    "Eastern Europe": "BG BY CZ HU MD PL RO RU SK UA",
    "Northern Europe": "AX DK EE FI FO GB GG IE IM IS JE LT LV NO SE SJ",
    "Southern Europe": "AD AL BA ES GI GR HR IT ME MK MT PT RS SI SM VA XK",
    "Western Europe": "AT BE CH DE FR LI LU MC NL",
    "Australia and New Zealand": "AU CC CX HM NF NZ",
    "Melanesia": "FJ NC PG SB VU",
    "Micronesia": "FM GU KI MH MP NR PW UM",
    "Polynesia": "AS CK NU PF PN TK TO TV WF WS",
}
# Larger regions by their parts.
_GROUPS = {
    "Africa": "Northern Africa, Eastern Africa, Central Africa, Southern Africa, Western Africa",
    "Asia": "Central Asia, Eastern Asia, South-eastern Asia, Southern Asia, Western Asia",
    "Europe": "Eastern Europe, Northern Europe, Southern Europe, Western Europe",
    "North America": "Northern America, Central America, Caribbean",
    "Oceania": "Australia and New Zealand, Melanesia, Micronesia, Polynesia",
    "Sub-Saharan Africa": "Eastern Africa, Central Africa, Southern Africa, Western Africa",
    "Latin America": "Central America, South America, Caribbean",
    "Americas": "Northern America, Central America, South America, Caribbean",
}
# Other usual names.
_SYNONYMS = {
    "North Africa": "Northern Africa",
    "East Africa": "Eastern Africa",
    "Middle Africa": "Central Africa",
    "West Africa": "Western Africa",
    "America": "Americas",
    "East Asia": "Eastern Asia",
    "Southeast Asia": "South-eastern Asia",
    "South Asia": "Southern Asia",
    "Middle East": "Western Asia",
    "Neotropics": "Latin America",
}
CONTINENTS = ("Africa", "Asia", "Europe", "North America", "South America", "Oceania", "Antarctica")


def _as_typed(name: str) -> str:
    """Return a name without capitals and hyphens."""
    return " ".join(name.replace("-", " ").split()).casefold()


def _table() -> dict[str, frozenset[str]]:
    parts = {name: frozenset(codes.split()) for name, codes in _PARTS.items()}
    parts |= {
        name: frozenset().union(*(parts[each] for each in group.split(", ")))
        for name, group in _GROUPS.items()
    }
    parts |= {name: parts[other] for name, other in _SYNONYMS.items()}
    return {_as_typed(name): codes for name, codes in parts.items()}


_COUNTRIES = _table()
ALL_COUNTRIES = frozenset().union(*_COUNTRIES.values())


def countries_of(region: str) -> frozenset[str] | None:
    """Return the countries of a continent or a part of one; None if the name is not known."""
    return _COUNTRIES.get(_as_typed(region))


def regions_of(countries: frozenset[str]) -> list[str]:
    """Return the continents and their parts that hold one of the countries, in order of names."""
    return sorted(
        name for name in {*_PARTS, *CONTINENTS} if countries & (_COUNTRIES[_as_typed(name)])
    )
