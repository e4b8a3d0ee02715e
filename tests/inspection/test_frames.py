# SPDX-License-Identifier: Apache-2.0
"""Registers as fields, and what is missing."""

import pytest

from gicmodel.inspection.frames import Frames


def test_what_is_wanted_and_missing_is_remembered():
    frames = Frames({"GITS0": {"CTLR": 1}})
    assert frames.want("GITS0", "CTLR", "nothing")["Enabled"] == 1
    assert frames.want("GITS0", "TYPER", "widths") is None
    assert frames.missing == {"GITS0_TYPER": "widths"}


@pytest.mark.parametrize("name", ["FOO", "VPENDBASER", "RD_base"])
def test_a_register_that_the_architecture_lacks_has_no_fields(name):
    frames = Frames({"GICR0": {name: 1}})
    assert (frames.value("GICR0", name), frames.fields("GICR0", name, "3")) == (1, None)
