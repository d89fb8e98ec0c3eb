"""Sentences on what a run did not use."""

from typing import Any

import pytest

from odins_ravne_assets.results.unused_media import unused_media_lines


@pytest.mark.parametrize(
    ("report", "lines"),
    [
        ({"totals": {"failed": 0, "media": 9}}, []),
        (
            {
                "totals": {"failed": 1, "media": 9, "truncated": 6},
                "failed_by_reason": {"file is empty": 1},
                "failed_examples": ["a/\x1b[31m.jpg"],
                "truncated_examples": ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "6.jpg"],
            },
            [
                "1 of 9 media could not be used: file is empty (a/\\x1b[31m.jpg)",
                "6 of 9 media are truncated, and used as far as they go "
                "(1.jpg, 2.jpg, 3.jpg, 4.jpg, 5.jpg, …)",
            ],
        ),
        (
            {
                "totals": {"failed": 0, "media": 9},
                "other_files": [
                    {"kind": "sound file", "files": 2, "examples": ["a.wav", "b.wav"]},
                    {"kind": "document", "files": 1, "examples": ["a.txt"]},
                ],
            },
            [
                "files that are no pictures or videos: 2 sound files, 1 document "
                "(a.wav, b.wav, a.txt)"
            ],
        ),
    ],
)
def test_failed_truncated_and_other_files_are_counted_and_named(
    report: dict[str, Any], lines: list[str]
) -> None:
    assert list(unused_media_lines(report)) == lines
