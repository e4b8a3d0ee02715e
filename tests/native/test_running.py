# SPDX-License-Identifier: Apache-2.0
"""C drivers in processes of their own: what they forget is named, and how they end is said in one line."""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.native import INCLUDE, run
from tests.conftest import needed
from tests.native.drivers import BOOT, EXAMPLES, driver, example_with

needed("cffi")
pytestmark = pytest.mark.needs("cc")

QUICK, PATIENT = 2.0, 8.0
"""Seconds for a driver that does not end at all, and for one that ends on one of the two GICs."""
LPI, PE = 8197, 0
INV_IS_MISSING = f"INV of DeviceID 0x2a EventID 3 is missing after the configuration byte of INTID {LPI} was written"


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_the_example_is_right(architecture):
    outcome = run(EXAMPLES / "its.c", GicConfig(architecture=architecture, commands_per_step=1))
    assert outcome.findings == []
    assert [drive.taken for drive in outcome.drives] == [{(PE, LPI, False): 2}] * 2


def test_a_forgotten_inv_is_named():
    outcome = run(EXAMPLES / "forgotten_inv.c")
    assert outcome.findings == [
        f"late hardware: mask: {INV_IS_MISSING}",
        "late hardware: the driver returned 5",
    ]


FORGOTTEN = [
    ("INV, EVENT, 0) || sync();", "INV, EVENT, 0);",
     "late hardware: map: SYNC of RDbase 0x0 is missing after INV DeviceID=0x2a EventID=0x3"),
    ("|| send(INVALL, 0, 0) || sync();", ";",
     "late hardware: boot: INVALL of ICID 0x0 is missing after MAPC ICID=0x0 RDbase=0x0 V=1"),
    ("(uint64_t)LPI << 32 | EVENT, 0) || sync();", "(uint64_t)LPI << 32 | EVENT, 0);",
     None),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "finding"), FORGOTTEN, ids=["SYNC after INV", "INVALL", "SYNC before SYNC"])
def test_what_else_is_forgotten_is_named(tmp_path, old, new, finding):
    """A SYNC completes all that was sent before it: the one after MAPTI is spared by the one after INV."""
    findings = run(example_with(tmp_path, old, new)).findings
    assert [text[: len(finding)] for text in findings[:1]] == [finding] if finding else findings == []


def test_a_command_that_the_its_refuses(tmp_path):
    outcome = run(example_with(tmp_path, "EVENT_BITS - 1, VALID | itt", "31, VALID | itt"))
    assert outcome.findings[0].startswith("plain hardware: command error 0x010802 MAPD_ITTSIZE_OOR at 0x80 of ITS 0")


ENDS = [
    ("return *(volatile int *)0;", "SIGSEGV; the last thing that it did: call driver"),
    ("return kill(getpid(), 40);", "signal 40; the last thing that it did: call driver"),
    ("gic_read32(gic_machine()->its); __builtin_trap();",
     "SIG(ILL|TRAP); the last thing that it did: read of GITS_CTLR of GITS0 at 0x81a0000, 4 bytes .number 1."),
    ("gic_write64(gic_machine()->its + 0x88, 0x20); abort();",
     "SIGABRT; the last thing that it did: write of 0x20 to GITS_CWRITER of GITS0 at 0x81a0088, 8 bytes .number 1."),
    ("exit(3);", r"exit\(3\); the last thing that it did: call driver"),
    ("exit(0);", r"exit\(0\); the last thing that it did: call driver"),
    ("gic_read32(gic_machine()->redistributors + 4); for (volatile int i = 1; i;) ;",
     "no end within 2 s; the last thing that it did: read of GICR_IIDR of GICR0"),
    ("for (;;) gic_read32(gic_machine()->its);", "no end within 2 s; the last thing that it did: read of GITS_CTLR of"),
    ("gic_read32(0x1000); for (;;) ;",
     "external abort: no memory at 0x1000, 4 bytes; the last thing that it did: read of 0x1000, 4 bytes .number 1."),
    ("gic_acknowledge(4);", "there is no PE 4: PEs are 0 to 3; the last thing that it did: PE 4 acknowledges"),
    ("gic_done((char *)0);", r"gic_done\(NULL\): an operation has a name; the last thing that it did: gic_done"),
    ("gic_done((char *)1);", "SIGSEGV; the last thing that it did: gic_done"),
    ("return 7;", "the driver returned 7"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "ended"), ENDS, ids=[body for body, _ in ENDS])
def test_how_a_driver_ends(tmp_path, body, ended):
    source = driver(
        tmp_path, f"{body}\nreturn 0;", before="#include <signal.h>\n#include <stdlib.h>\n#include <unistd.h>"
    )
    outcome = run(source, seconds=QUICK)
    assert len(outcome.findings) == 2
    for finding, hardware in zip(outcome.findings, ("plain", "late"), strict=True):
        assert re.fullmatch(f"{hardware} hardware: {ended}.*", finding)
        assert "\n" not in finding


@pytest.mark.parametrize(("end", "known"), [("abort();", False), ("_exit(0);", False), ("gic_read32(8);", True)])
def test_what_is_known_of_a_driver_that_died(tmp_path, end, known):
    """Its accesses; what it took and what it owed only if the model itself ended it."""
    body = f"gic_read32(gic_machine()->its); gic_wait(); {end} return 0;"
    plain, _ = run(driver(tmp_path, body, before="#include <stdlib.h>\n#include <unistd.h>")).drives
    assert plain.accesses == 2 + known
    assert (plain.taken, plain.missing, plain.errors) == (({}, (), ()) if known else (None, None, None))


FORKED = "a process that the driver forked accessed the GIC, which stays the driver's own; the last thing that it did: "
FORKS = [
    ("if (!fork())\n    return 5;\nwait(0); return 0;", []),
    ("if (!fork())\n    exit(5);\nwait(0); gic_wait(); return 0;", []),
    ("if (!fork())\n    for (;;) ;\nreturn 0;", []),
    ("if (!fork())\n    gic_wait();\nwait(0); return 0;", [f"{FORKED}call driver"]),
]


@pytest.mark.parametrize(("body", "said"), FORKS, ids=[body for body, _ in FORKS])
def test_a_driver_that_forks(tmp_path, capfd, body, said):
    """The report is the driver's own, and what it has forked does not outlive it."""
    source = driver(tmp_path, body, before="#include <stdlib.h>\n#include <sys/wait.h>\n#include <unistd.h>")
    assert [list(drive.findings) for drive in run(source).drives] == [said] * 2
    assert capfd.readouterr().err == ""


def test_a_driver_that_leaves_no_way_to_report(tmp_path, capfd):
    body = "struct rlimit none = {0, 0}; gic_wait(); setrlimit(RLIMIT_NOFILE, &none); return 0;"
    outcome = run(driver(tmp_path, body, before="#include <sys/resource.h>"))
    assert outcome.findings[0] == "plain hardware: exit(1); the last thing that it did: wait (number 1)"
    said = "gicmodel: what the driver did cannot be reported: Too many open files\n"
    assert capfd.readouterr().err == said * 2


def test_one_that_waits_for_ever_is_told_what_it_forgot(tmp_path):
    """The LPI stays disabled on hardware that keeps its configuration byte."""
    source = example_with(tmp_path, "return take() == LPI ? 0 : 7;",
                          "while (take() != LPI)\n        gic_wait();\n    return 0;")  # fmt: skip
    source.write_text(source.read_text().replace("    if (configure(UNMASKED))\n        return 6;\n",
                                                 "    configuration[LPI - 8192] = UNMASKED;\n"))  # fmt: skip
    source.write_text(source.read_text().replace('    gic_done("unmask");\n', ""))
    plain, late = run(source, seconds=PATIENT).drives
    assert plain.returned == 0
    assert late.missing == (f"when the time was over: {INV_IS_MISSING}",)
    assert late.ended is not None
    assert late.ended.startswith(f"no end within {PATIENT:g} s; the last thing that it did: ")


def test_interrupts_that_only_one_hardware_has(tmp_path):
    """An INT that is not completed by a SYNC: time is over for it at the end, which is said first."""
    source = example_with(tmp_path, "return take() == LPI ? 0 : 7;",
                          "take();\n    send((uint64_t)DEVICE << 32 | 3, EVENT, 0);\n"
                          "    take();\n    sync();\n    return 0;")  # fmt: skip
    assert run(source).findings == [
        "INTID 8197 is taken by PE 0 3 times on plain hardware, 2 times on late hardware",
    ]


UNUSABLE = [
    ("int driver(void) { return 0; }\n", "it was not built with gicmodel.h"),
    ('#include "gicmodel.h"\nint other(void) { return gic_host.its != 0; }\n', "does not compile: .*gic_host"),
    ('#include "gicmodel.h"\nint other(void) { return 0; }\n', r"it has no function int driver\(void\)"),
    ('#include "gicmodel.h"\nint other(void);\nint driver(void) { return other(); }\n', "cannot be loaded: .*other"),
]


@pytest.mark.parametrize(("text", "said"), UNUSABLE, ids=[said for _, said in UNUSABLE])
def test_a_file_that_is_no_driver(tmp_path, text, said):
    path = tmp_path / "driver.c"
    path.write_text(text)
    with pytest.raises(UnusableInput, match=said):
        run(path)


ELF = b"\x7fELF\x02\x01\x01"
NO_OBJECTS = [
    (b"", "file too short"),
    (b"text" * 200, "invalid ELF header"),
    (Path(sys.executable).read_bytes()[:40], "file too short"),
    (ELF.ljust(18, b"\0") + b"\xb7\0" + bytes(44), "it is an ELF file for AARCH64, not for this processor"),
    (ELF.ljust(18, b"\0") + b"\x34\x12", "it is an ELF file for machine 4660, not for this processor"),
]


@pytest.mark.parametrize(("data", "said"), NO_OBJECTS, ids=[said for _, said in NO_OBJECTS])
@pytest.mark.skipif(platform.machine() != "x86_64", reason="they are files of other processors than an x86-64")
def test_a_shared_object_that_is_none(tmp_path, data, said):
    path = tmp_path / "driver.so"
    path.write_bytes(data)
    with pytest.raises(UnusableInput, match=rf"driver\.so: cannot be loaded: {said}$"):
        run(path)


def test_an_entry_that_is_no_name():
    with pytest.raises(UnusableInput, match="is no name of a C function"):
        run(EXAMPLES / "its.c", entry="driver(void); int x")


def test_a_shared_object_of_several_files_with_hidden_symbols(tmp_path):
    """All of them have one `gic_host`."""
    (tmp_path / "one.c").write_text(
        '#include "gicmodel.h"\nuint32_t ctlr(void) { return gic_read32(gic_machine()->its); }\n'
    )
    two = '#include "gicmodel.h"\nuint32_t ctlr(void);\n__attribute__((visibility("default"))) int start(void)\n'
    (tmp_path / "two.c").write_text(two + "{ return ctlr() == 0x80000000u ? 0 : 1; }\n")
    command = ["cc", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{INCLUDE}", "-o", "driver.so", "one.c", "two.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert run(tmp_path / "driver.so", entry="start").findings == []


def test_the_header_is_valid_everywhere(tmp_path):
    """In old and new C, and where there is a C++ compiler in C++, without a warning."""
    (tmp_path / "driver.c").write_text('#include "gicmodel.h"\nint driver(void);\nint driver(void) { return 0; }\n')
    languages = [("cc", "c", "c99"), ("cc", "c", "c17")] + [("c++", "c++", "c++17")] * bool(shutil.which("c++"))
    for compiler, language, standard in languages:
        flags = ["-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{INCLUDE}"]
        subprocess.run([compiler, *flags, "-fsyntax-only", "driver.c"], cwd=tmp_path, check=True)


def test_what_a_driver_prints_is_on_standard_error(tmp_path, capfd):
    run(driver(tmp_path, 'printf("hello"); gic_read32(0);\nreturn 0;', before="#include <stdio.h>"))
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "hello" * 2, "also of one that is ended in the middle"


def test_boot_is_an_operation_of_the_example():
    assert BOOT in Path(EXAMPLES / "its.c").read_text()
