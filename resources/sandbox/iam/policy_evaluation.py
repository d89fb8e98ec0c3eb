"""IAM's decision for one call, from identity policies (IAM user guide, "Policy evaluation logic").

Not here: resource policies, session policies, policy variables.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Statement = dict[str, Any]
Context = Mapping[str, list[str]]
IF_EXISTS = "IfExists"


@dataclass(frozen=True)
class AccessRequest:
    """One action on one resource, and what conditions may ask about.

    Args:
        action: as `s3:GetObject`.
        resource: an ARN, or `*` for actions that know no resources.
        context: condition keys and their values.
    """

    action: str
    resource: str
    context: Context = field(default_factory=dict)


def is_allowed(documents: Iterable[str], boundary: str | None, call: AccessRequest) -> bool:
    """Whether policies let a call pass: one says so, none denies it, and the boundary agrees.

    Args:
        documents: identity policies, as JSON.
        boundary: the most that they can give, as JSON; None sets no bounds.
    """
    effects = {effect for document in documents for effect in _effects(document, call)}
    if boundary is not None:
        bounds = set(_effects(boundary, call))
        if "Allow" not in bounds or "Deny" in bounds:
            return False
    return "Allow" in effects and "Deny" not in effects


def _effects(document: str, call: AccessRequest) -> Iterable[str]:
    statements = json.loads(document)["Statement"]
    for statement in [statements] if isinstance(statements, dict) else statements:
        if _applies(statement, call):
            yield statement["Effect"]


def _applies(statement: Statement, call: AccessRequest) -> bool:
    if "NotAction" in statement:
        names_action = not _matches_any(statement["NotAction"], call.action.lower(), lower=True)
    else:
        names_action = _matches_any(statement["Action"], call.action.lower(), lower=True)
    if "NotResource" in statement:
        names_resource = not _matches_any(statement["NotResource"], call.resource)
    else:
        names_resource = _matches_any(statement["Resource"], call.resource)
    return names_action and names_resource and _conditions_hold(statement, call.context)


def _conditions_hold(statement: Statement, context: Context) -> bool:
    return all(
        _holds(operator, context.get(key), _listed(wanted))
        for operator, pairs in statement.get("Condition", {}).items()
        for key, wanted in pairs.items()
    )


def _holds(operator: str, given: list[str] | None, wanted: list[str]) -> bool:
    quantifier, _, name = operator.rpartition(":")
    if name.endswith(IF_EXISTS):
        if given is None:
            return True
        name = name.removesuffix(IF_EXISTS)
    negated = name.replace("Not", "", 1) if "Not" in name else None
    test = OPERATORS.get(negated or name)
    if test is None:
        raise NotImplementedError(f"the sandbox knows no condition operator {operator}")
    if given is None:
        return negated is not None or quantifier == "ForAllValues"
    hits = [any(test(pattern, value) for pattern in wanted) for value in given]
    if negated is not None:
        return not any(hits)
    return all(hits) if quantifier == "ForAllValues" else any(hits)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _matches_any(patterns: str | list[str], value: str, lower: bool = False) -> bool:
    return any(
        matches(pattern.lower() if lower else pattern, value) for pattern in _listed(patterns)
    )


def matches(pattern: str, value: str) -> bool:
    """IAM's wildcards: an asterisk for any text, a question mark for one character."""
    return _expression(pattern).fullmatch(value) is not None


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    words = {"*": ".*", "?": "."}
    return re.compile("".join(words.get(c, re.escape(c)) for c in pattern), re.DOTALL)


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda pattern, value: pattern == value,
    "StringEqualsIgnoreCase": lambda pattern, value: pattern.lower() == value.lower(),
    "StringLike": matches,
    "ArnEquals": matches,
    "ArnLike": matches,
    "Bool": lambda pattern, value: pattern.lower() == value.lower(),
}
