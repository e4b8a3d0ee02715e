# SPDX-License-Identifier: Apache-2.0
import pytest


@pytest.fixture(autouse=True)
def plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers' processes do not spend their seconds on machine code, whatever this one has settled for."""
    monkeypatch.setenv("GICMODEL_ENGINE", "python")
