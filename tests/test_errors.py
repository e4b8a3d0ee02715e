# SPDX-License-Identifier: Apache-2.0
"""What is said about hostile input is one line, short and harmless, whatever is in it."""

import json

import pytest

from gicmodel.errors import UnusableInput, one_line, printable, utf8, whole


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\033]0;pwned\007.elf", r"\x1b]0;pwned\x07.elf"),
        ("\033[31m", r"\x1b[31m"),
        ("a\u202eb", r"a\u202eb"),
        ("\x9b31m", r"\x9b31m"),
        ("\udcff.elf", r"\udcff.elf"),
        ("größe 5 µs.elf", "größe 5 µs.elf"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text, shown):
    assert printable(text) == shown
    assert str(UnusableInput(f"{text}: cannot be read")) == f"{shown}: cannot be read"


def test_a_long_message_keeps_its_place_and_its_rule():
    message = str(UnusableInput(f"file: GITS0.CTLR is {'9' * 900_000}, not a value of 64 bits"))
    assert message.startswith("file: GITS0.CTLR is 999")
    assert message.endswith("999, not a value of 64 bits")
    assert len(message) < 2100


def test_a_message_is_one_line():
    assert one_line("one\ntwo\r\n\u2028three") == "one two three"


def test_json_has_no_surrogates():
    name = b"dump-\xff.elf".decode(errors="surrogateescape")
    assert json.dumps(utf8(name), ensure_ascii=False).encode() == b'"dump-\\\\udcff.elf"'


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-1, "the number is -1, not from 0 to 15"),
        (1 << 20, "the number is 0x100000, not from 0 to 15"),
        ("a\nb", r"the number is 'a\\nb', not a whole number"),
        (1.0, "the number is 1.0, not a whole number"),
    ],
)
def test_a_number_out_of_bounds(value, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        whole(value, "the number", 0, 15)


def test_a_number_of_any_length_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^the number is 0x10*") as refused:
        whole(1 << 10_000_000, "the number")
    assert len(str(refused.value)) < 2100
