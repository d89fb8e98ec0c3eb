"""Read YAML of users at a bounded cost: aliases, depth and numbers do not grow without limit."""

from typing import Any

import yaml
from yaml.constructor import ConstructorError

# A profile has some hundreds of values; a list of all mammals as YAML has 40,000.
MAX_BYTES, MAX_VALUES, MAX_DEPTH, MAX_DIGITS = 1_000_000, 50_000, 50, 400

_NUMBER_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("int", "float")}


class YamlError(ValueError):
    """The text is not valid YAML; one line, after `line`, counted from 1, if it is known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


class YamlLimitError(YamlError):
    """The text exceeds a limit: it is too long, too deep, or expands to too many values."""


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML document.

    Raises:
        YamlLimitError: see there.
        YamlError: it is not valid YAML.
    """
    if len(text) > MAX_BYTES:
        raise YamlLimitError(f"has more than {MAX_BYTES:,} characters")
    try:
        _check_size(text)
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise YamlError(f"not valid YAML: {problem}", mark.line + 1 if mark else None) from None
    except RecursionError:
        raise YamlLimitError("is nested too deep") from None


class _Loader(yaml.SafeLoader):
    """The safe loader, which names the line of a value that it cannot read."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if node.tag in _NUMBER_TAGS and len(str(node.value)) > MAX_DIGITS:
            raise ConstructorError(
                None, None, f"a number of more than {MAX_DIGITS} digits", node.start_mark
            )
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError):
            kind = str(node.tag).rpartition(":")[2]
            raise ConstructorError(
                None, None, f"{str(node.value)[:40]!r} is not a {kind}", node.start_mark
            ) from None


def _check_size(text: str) -> None:
    """Count the values of the document as if every alias were written out.

    Raises:
        YamlLimitError: there are too many, or they are nested too deep.
    """
    total = 0
    counts: dict[str, int | None] = {}  # by anchor; None: not finished
    stack: list[tuple[str | None, int]] = []  # anchor and `total` at the start of each collection
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent):
            if (inside := counts.get(str(event.anchor), 1)) is None:
                raise YamlLimitError(f"the alias *{event.anchor} contains itself", line)
            total += inside
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = stack.pop()
            if anchor:
                counts[anchor] = total - before
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.CollectionStartEvent):
                stack.append((event.anchor, total - 1))
            if event.anchor:
                counts[event.anchor] = 1 if isinstance(event, yaml.ScalarEvent) else None
        if len(stack) > MAX_DEPTH:
            raise YamlLimitError(f"is nested deeper than {MAX_DEPTH} levels", line)
        if total > MAX_VALUES:
            raise YamlLimitError(f"has more than {MAX_VALUES:,} values", line)
