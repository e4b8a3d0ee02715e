# SPDX-License-Identifier: Apache-2.0
"""The schemas of docs/schemas, and what is wrong with a document by its verb's."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@cache
def schema(verb: str) -> Any:
    """The schema of a verb's --json."""
    return json.loads((SCHEMAS / f"{verb}.json").read_text())


def wrong(verb: str, document: Any) -> str | None:
    """The worst that the schema has against a document, None if nothing."""
    error = best_match(Draft202012Validator(schema(verb)).iter_errors(document))
    return None if error is None else f"{verb} {error.json_path}: {error.message[:200]}"
