"""The API keeps what its description promises: requests made from the description, answers held to it."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tailrace.server.run import Running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 15


def test_answers_are_as_described(server: Running) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    # Streams do not end, and a poll waits: both are tested by hand.
    operations = schema.exclude(path_regex="(stream|poll)$").get_all_operations()
    held = [held_to_its_description(found.ok()) for found in operations]
    assert len(held) >= 10
    assert sum(held) >= len(held) * EXAMPLES / 2


def held_to_its_description(operation: schemathesis.openapi.APIOperation) -> int:
    """Make requests that the description allows; answers how many."""
    made = 0

    @settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        nonlocal made
        made += 1
        case.call_and_validate(checks=CHECKS)

    ask()
    return made
