"""Dates of XMP."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odins_ravne_assets.munin.media.tags.xmp import XMP_DAMAGED, xmp_times

NAMES = (
    'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
)


def packet(attributes: str = "", elements: str = "") -> bytes:
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {NAMES} {attributes}>{elements}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


@pytest.mark.parametrize(
    "name",
    ["exif:DateTimeOriginal", "photoshop:DateCreated", "exif:DateTimeDigitized", "xmp:CreateDate"],
)
@pytest.mark.parametrize("text", ["2021-05-28T09:30:11+02:00", "2021-05-28T09:30"])
def test_a_date_is_an_attribute_or_an_element(name: str, text: str) -> None:
    assert xmp_times(packet(f'{name}="{text}"')) == ([text], ())
    assert xmp_times(packet(elements=f"<{name}> {text}\n</{name}>")) == ([text], ())


def test_the_time_of_capture_comes_first_and_edits_are_none() -> None:
    found, _ = xmp_times(
        packet('xmp:CreateDate="2022-01-01T10:00:00" xmp:ModifyDate="2023-01-01T10:00:00"')
        .replace(b"</rdf:Desc", b"<exif:DateTimeOriginal>2021-05-28T09:30:11"
                 b"</exif:DateTimeOriginal></rdf:Desc")
    )  # fmt: skip
    assert found == ["2021-05-28T09:30:11", "2022-01-01T10:00:00"]


def test_a_date_alone_is_no_time() -> None:
    assert xmp_times(packet('photoshop:DateCreated="2021-05-28"')) == ([], ())


@pytest.mark.parametrize("end", [b"", b"\0" * 100, b" " * 2000 + b"\n"])
def test_padding_behind_a_packet_is_no_damage(end: bytes) -> None:
    text = "2021-05-28T09:30:11Z"
    assert xmp_times(packet(f'xmp:CreateDate="{text}"') + end) == ([text], ())


@pytest.mark.parametrize(
    "damaged",
    [
        packet('xmp:CreateDate="2021-05-28T09:30:11"')[:-80],
        b"not XML",
        b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
        b"<x>" + b" " * 2**20 + b"</x>",
        b"<x>" * 100_000,
    ],
)
def test_damage_is_a_remark(damaged: bytes) -> None:
    started = time.monotonic()
    assert xmp_times(damaged) == ([], (XMP_DAMAGED,))
    assert time.monotonic() - started < 1


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    xmp_times(data)
