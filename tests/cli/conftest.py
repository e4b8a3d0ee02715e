# SPDX-License-Identifier: Apache-2.0
"""Whatever JSON a verb publishes in a test of this folder is what its schema says."""

import json
from collections.abc import Callable, Iterator

import click
import pytest

from gicmodel.cli.output import Document, Results, _lines
from tests.conftest import needed


@pytest.fixture(autouse=True)
def _as_the_schema_says(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    needed("jsonschema")
    from tests.cli.schemas import wrong

    publish = Results.publish
    found: list[str | None] = []

    def checked(results: Results, document: Document, show: Callable[[], None]) -> None:
        if results.as_json or results.json_file is not None:
            verb = click.get_current_context().info_name
            found.append(wrong(str(verb), json.loads("\n".join(_lines(document)))))
        publish(results, document, show)

    monkeypatch.setattr(Results, "publish", checked)
    yield
    assert [said for said in found if said] == []
