"""Evaluation of identity policies for one access request.

Source: IAM user guide, "Policy evaluation logic".

Not supported: resource policies, session policies, policy variables.
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
    """One action on one resource, with the context for conditions.

    Args:
        action: as `s3:GetObject`.
        resource: an ARN, or `*` for actions without resource-level permissions.
        context: condition keys and their values.
    """

    action: str
    resource: str
    context: Context = field(default_factory=dict)


def is_allowed(documents: Iterable[str], boundary: str | None, request: AccessRequest) -> bool:
    """True if a policy allows the request, no policy denies it, and the boundary allows it.

    Args:
        documents: identity policies, as JSON.
        boundary: the permissions boundary, as JSON; None if there is none.
    """
    effects = {effect for document in documents for effect in _effects(document, request)}
    if boundary is not None:
        bounds = set(_effects(boundary, request))
        if "Allow" not in bounds or "Deny" in bounds:
            return False
    return "Allow" in effects and "Deny" not in effects


def _effects(document: str, request: AccessRequest) -> Iterable[str]:
    statements = json.loads(document)["Statement"]
    for statement in [statements] if isinstance(statements, dict) else statements:
        if _applies(statement, request):
            yield statement["Effect"]


def _applies(statement: Statement, request: AccessRequest) -> bool:
    if "NotAction" in statement:
        names_action = not _matches_any(statement["NotAction"], request.action.lower(), lower=True)
    else:
        names_action = _matches_any(statement["Action"], request.action.lower(), lower=True)
    if "NotResource" in statement:
        names_resource = not _matches_any(statement["NotResource"], request.resource)
    else:
        names_resource = _matches_any(statement["Resource"], request.resource)
    return names_action and names_resource and _conditions_hold(statement, request.context)


def _conditions_hold(statement: Statement, context: Context) -> bool:
    return all(
        _condition_holds(operator, context.get(key), _as_list(patterns))
        for operator, pairs in statement.get("Condition", {}).items()
        for key, patterns in pairs.items()
    )


def _condition_holds(operator: str, values: list[str] | None, patterns: list[str]) -> bool:
    quantifier, _, name = operator.rpartition(":")
    if name.endswith(IF_EXISTS):
        if values is None:
            return True
        name = name.removesuffix(IF_EXISTS)
    negated = name.replace("Not", "", 1) if "Not" in name else None
    test = OPERATORS.get(negated or name)
    if test is None:
        raise NotImplementedError(f"the sandbox does not support the condition operator {operator}")
    if values is None:
        return negated is not None or quantifier == "ForAllValues"
    matched = [any(test(pattern, value) for pattern in patterns) for value in values]
    if negated is not None:
        return not any(matched)
    return all(matched) if quantifier == "ForAllValues" else any(matched)


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _matches_any(patterns: str | list[str], value: str, lower: bool = False) -> bool:
    return any(
        matches(pattern.lower() if lower else pattern, value) for pattern in _as_list(patterns)
    )


def matches(pattern: str, value: str) -> bool:
    """Match IAM's wildcards: an asterisk for any text, a question mark for one character."""
    return _expression(pattern).fullmatch(value) is not None


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    wildcards = {"*": ".*", "?": "."}
    return re.compile("".join(wildcards.get(c, re.escape(c)) for c in pattern), re.DOTALL)


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda pattern, value: pattern == value,
    "StringEqualsIgnoreCase": lambda pattern, value: pattern.lower() == value.lower(),
    "StringLike": matches,
    "ArnEquals": matches,
    "ArnLike": matches,
    "Bool": lambda pattern, value: pattern.lower() == value.lower(),
}
