"""YAML of users: whatever it holds, it is read or refused at once, in one line."""

from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import ProfileError
from resources.settings.loader import load_profile
from resources.settings.yaml_text import YamlError, YamlLimitError, parse_yaml


def aliases(levels: int, line: str) -> str:
    """Each level holds the one below ten times."""
    return "a0: &a0 {k0: 1}\n" + "".join(
        f"a{n}: &a{n} " + line.format(",".join([f"*a{n - 1}"] * 10), n) + "\n"
        for n in range(1, levels)
    )


BOMBS = {
    "aliases in lists": aliases(12, "[{}]"),
    "aliases in merge keys": aliases(12, "{{<<: [{}], k{}: 1}}"),
    "an alias in itself": "a: &a [*a]",
    "2,000 levels of lists": "a: " + "[" * 2000 + "]" * 2000,
    "2,000 levels of maps": "".join(" " * n + "a:\n" for n in range(2000)),
    "2,000 levels of inline maps": "{a: " * 2000 + "1" + "}" * 2000,
    "200,000 keys": "pipeline: {" + "a: 1, " * 160_000 + "}",
    "5 MB": "a: " + "x" * 5_000_000,
}
INVALID = {
    "5,000 digits": "a: " + "9" * 5000,
    "5,000 negative digits": "a: -" + "9" * 5000,
    "5,000 digits and underscores": "a: " + "9_9" * 2500,
    "5,000 hexadecimal digits": "a: 0x" + "f" * 5000,
    "5,000 binary digits": "a: 0b" + "1" * 5000,
    "3,000 sexagesimal places": "a: 1" + ":59" * 3000,
    "a number as key": "? " + "9" * 5000 + "\n: 1",
    "a month 99": "a: 2026-99-99",
    "an offset of 99 hours": "a: 2026-01-01 00:00:00 +99:99",
    "text as int": "a: !!int x",
    "nothing as int": "a: !!int ''",
    "text as float": "a: !!float x",
    "text as bool": "a: !!bool x",
    "text as binary": "a: !!binary xxx",
    "text as time": "a: !!timestamp x",
    "an object": "a: !!python/object/apply:os.system [x]",
    "a list as key": "{[1]: 2}",
    "a map as key": "{&a {x: 1}: 2}",
    "half a list": "a: [",
    "a zero byte": "a: \0",
    "an unknown alias": "a: *b",
}


def refusal(text: str, kind: type[YamlError]) -> str:
    start = process_time()
    with pytest.raises(kind) as refused:
        parse_yaml(text)
    assert process_time() - start < 2  # 0.5 s as a rule
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200
    return str(refused.value)


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_refused_at_once(what: str) -> None:
    refusal(BOMBS[what], YamlLimitError)


@pytest.mark.parametrize("what", INVALID)
def test_an_invalid_value_is_refused_in_one_line(what: str) -> None:
    refusal(INVALID[what], YamlError)


@pytest.mark.parametrize("text", [*BOMBS.values(), *INVALID.values()])
def test_the_error_of_a_profile_names_its_file(text: str, tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text(text)
    with pytest.raises(ProfileError) as refused:
        load_profile(str(profile), {}, {})
    assert str(refused.value).startswith(f"profile {profile}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_in_a_variable_is_refused_and_named(what: str) -> None:
    variable = "MUNIN_PIPELINE__STAGE3__ROLL_UP"
    with pytest.raises(ProfileError, match=f"^environment {variable}: "):
        load_profile("local", {}, {variable: BOMBS[what]})


def test_a_value_that_is_not_allowed_is_shortened(tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("privacy: {sensitive_decimals: [" + "x, " * 10_000 + "]}")
    with pytest.raises(ProfileError) as refused:
        load_profile(str(profile), {}, {})
    assert len(str(refused.value)) < 500


def test_aliases_and_merge_keys_of_a_usual_profile_are_read() -> None:
    text = "base: &base {a: 1, b: [x, 2.5]}\nother: {<<: *base, a: 2}\nagain: [*base, *base]"
    base = {"a": 1, "b": ["x", 2.5]}
    assert parse_yaml(text) == {"base": base, "other": {**base, "a": 2}, "again": [base, base]}


def test_the_line_of_an_error_is_known() -> None:
    with pytest.raises(YamlError, match="a number of more than 400 digits") as refused:
        parse_yaml("a: 1\nb: 2\nc: " + "9" * 5000)
    assert refused.value.line == 3


@given(st.text(max_size=60) | st.text("{}[]&*ab:<, \n-!?'\"1", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    value: Any = None
    try:
        value = parse_yaml(text)
    except YamlError as error:
        assert "\n" not in str(error)
    assert value is None or repr(value)
