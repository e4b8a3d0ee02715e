# SPDX-License-Identifier: Apache-2.0
"""The printed diagrams."""

import pytest

from gicmodel.layouts.catalogue import KINDS
from gicmodel.layouts.declaration import IMPDEF, RES0, RES1, Address, Bits, Flag
from gicmodel.layouts.diagram import to_ascii
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import LPI_CONFIGURATION

EVERYTHING = Layout(
    "EVERYTHING",
    *(RES0(31), Flag("V", "Short enough for its box"), Flag("Valid", "Too long for it"), IMPDEF(1), RES0(1)),
    *(Address("Addr", 51, 30, "Split"), Bits("Kind", 3, "Kind of it"), RES1(4)),
    words=(64,),
)


def test_every_kind_of_box():
    assert EVERYTHING.diagram() == (
        " 6 6 6 6 5 5 5 5 5 5 5 5 5 5 4 4 4 4 4 4 4 4 4 4 3 3 3 3 3 3 3 3\n"
        " 3 2 1 0 9 8 7 6 5 4 3 2 1 0 9 8 7 6 5 4 3 2 1 0 9 8 7 6 5 4 3 2\n"
        "┌─────────────────────────────────────────────────────────────┬─┐\n"
        "│                             RES0                            │V│\n"
        "└─────────────────────────────────────────────────────────────┴─┘\n"
        " 3 3 2 2 2 2 2 2 2 2 2 2 1 1 1 1 1 1 1 1 1 1\n"
        " 1 0 9 8 7 6 5 4 3 2 1 0 9 8 7 6 5 4 3 2 1 0 9 8 7 6 5 4 3 2 1 0\n"
        "┌─┬─┬─┬───────────────────────────────────────────┬─────┬───────┐\n"
        "│ │ │0│                Addr[51:30]                │ Kind│  RES1 │\n"
        "└┬┴┬┴─┴───────────────────────────────────────────┴─────┴───────┘\n"
        " │ └ IMPDEF\n"
        " └ Valid\n"
        "\n"
        "  [32]  V            Short enough for its box\n"
        "  [31]  Valid        Too long for it\n"
        "  [30]  IMPDEF\n"
        "[28:7]  Addr[51:30]  Split\n"
        " [6:4]  Kind         Kind of it"
    )


def test_a_row_of_one_byte():
    assert LPI_CONFIGURATION.diagram().splitlines()[:5] == [
        " 7 6 5 4 3 2 1 0",
        "┌───────────┬─┬─┐",
        "│  Priority │1│ │",
        "└───────────┴─┴┬┘",
        "               └ Enable",
    ]


def test_a_field_across_two_rows_shows_the_part_in_each():
    diagram = Layout("SPLIT", RES0(20), Address("PA", 51, 20, "Split"), RES0(12)).diagram()
    assert "PA[51:40]" in diagram
    assert "PA[39:20]" in diagram


@pytest.mark.parametrize("layout", KINDS, ids=lambda layout: layout.name)
def test_every_diagram_names_every_field_and_fits_a_page(layout):
    lines = layout.diagram().splitlines()
    assert all(any(name in line for line in lines) for name in layout.fields)
    assert {len(line) for line in lines if line.startswith("┌")} <= {17, 65}
    assert max(len(line) for line in lines) <= 132


@pytest.mark.parametrize("layout", KINDS, ids=lambda layout: layout.name)
def test_ascii_diagrams_are_ascii_and_of_the_same_shape(layout):
    diagram = layout.diagram()
    assert to_ascii(diagram).isascii()
    assert [len(line) for line in to_ascii(diagram).splitlines()] == [len(line) for line in diagram.splitlines()]
