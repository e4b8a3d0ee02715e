# SPDX-License-Identifier: Apache-2.0
"""`gicmodel migrate` on unusable input: exit status 2, one line on stderr that names the place, nothing written."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from gicmodel.images.registers import write_registers
from gicmodel.images.segments import memory_for, read_image, write_elf
from gicmodel.images.sources import read_registers
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER, GICR_PROPBASER
from gicmodel.memory import GuestMemory

CAPTURE = Path(__file__).parents[2] / "tables" / "linux-6.12-kvm-2vcpu"
IMAGE = CAPTURE / "guest-saved-tables.elf.xz"
E_MACHINE = 18
OUTSIDE = 0xFF_0000_0000


def refused(*arguments):
    """The one line; stdout must be empty."""
    result = CliRunner().invoke(main, ["migrate", *map(str, arguments)])
    assert (result.exit_code, result.stdout) == (UNUSABLE, ""), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    line, end = result.stderr.split("\n")
    assert line.startswith("gicmodel: ")
    assert end == ""
    return line.removeprefix("gicmodel: ")


class Malformed:
    """The real image and its registers, to be damaged and written."""

    def __init__(self, directory):
        self.path = directory / "guest.elf"
        self.registers = read_registers(CAPTURE / "registers.toml")
        self.memory = memory_for(read_image(IMAGE))
        level1 = self.address(GITS_BASER, "GITS0", "BASER0")
        self.level1 = level1
        self.dte = self.entry(KVM_LEVEL1, level1)["Physical_Address"] + 8 * KVM_DTE.bytes
        self.itt = self.entry(KVM_DTE, self.dte)["ITT_addr"]
        self.ctes = self.address(GITS_BASER, "GITS0", "BASER1")

    def address(self, layout, frame, name):
        return layout.unpack(self.registers[frame][name])["Physical_Address"]

    def entry(self, layout, address):
        return layout.unpack(self.memory.read_u64(address))

    def edit(self, layout, address, **fields):
        self.memory.write_u64(address, layout.pack(**(self.entry(layout, address) | fields)))

    def register(self, layout, frame, name, **fields):
        value = layout.unpack(self.registers[frame][name]) | fields
        self.registers[frame][name] = layout.pack(**value)

    def write(self):
        write_elf(self.path, self.memory)
        write_registers(self.path.with_suffix(".toml"), self.registers)
        return self.path


@pytest.fixture
def image(tmp_path):
    return Malformed(tmp_path)


@pytest.fixture
def untouched(tmp_path):
    """Where results would go, and must not."""
    save, verdict = tmp_path / "save", tmp_path / "verdict.json"
    yield "--save", save, "--json-file", verdict
    assert not save.exists()
    assert not verdict.exists()


def test_the_image_is_usable_before_it_is_damaged(image):
    assert CliRunner().invoke(main, ["migrate", str(image.write())]).exit_code == 0


def test_not_an_elf(tmp_path, untouched):
    (tmp_path / "guest.elf").write_bytes(b"not an ELF file at all")
    assert "guest.elf: is not an ELF file" in refused(tmp_path / "guest.elf", *untouched)


def test_an_elf_with_a_base(untouched):
    assert "is an ELF file, whose addresses are its own; a base (0x40000000)" in refused(
        IMAGE, "--base", "0x40000000", *untouched
    )


def test_a_base_without_an_image(untouched):
    assert refused("--base", "0x40000000", *untouched) == "--base describes an IMAGE, and there is none"


@pytest.mark.parametrize(
    ("base", "complaint"),
    [
        (0x4000_0000, "GICR0 PENDBASER: the pending table at 0x43200000 is not in the image's RAM"),
        (1 << 52, "is not in the 52-bit physical address space"),
        (0x3000_0000, "[guest] ram_base is 0x40000000: page aligned, at most 0x30000000"),
    ],
)
def test_raw_bytes_at_a_wrong_base(image, untouched, base, complaint):
    image.path = image.path.with_suffix(".raw")
    write_registers(image.path.with_suffix(".toml"), image.registers)
    image.path.write_bytes(image.memory.octets.data)
    assert complaint in refused(image.path, "--base", hex(base), *untouched)


def test_no_such_file(tmp_path, untouched):
    assert "guest.elf: cannot be read: No such file" in refused(tmp_path / "guest.elf", *untouched)


@pytest.mark.parametrize("size", [10, 63, 100, 5000, 0x6000])
def test_a_truncated_elf(image, untouched, size):
    image.write().write_bytes(image.path.read_bytes()[:size])
    assert "guest.elf: " in refused(image.path, *untouched)


@pytest.mark.parametrize("size", [1, 40, 1300])
def test_a_truncated_xz(tmp_path, untouched, size):
    path = tmp_path / IMAGE.name
    path.write_bytes(IMAGE.read_bytes()[:size])
    assert "is a damaged or truncated .xz file" in refused(path, *untouched)


def test_an_elf_of_another_machine(image, untouched):
    octets = bytearray(image.write().read_bytes())
    octets[E_MACHINE : E_MACHINE + 2] = (62).to_bytes(2, "little")
    image.path.write_bytes(octets)
    assert "e_machine is 62; a GIC's RAM is EM_AARCH64" in refused(image.path, *untouched)


def test_no_registers(image, untouched):
    image.write()
    image.path.with_suffix(".toml").unlink()
    assert "beside it is neither guest.toml nor registers.toml" in refused(image.path, *untouched)


def test_registers_that_are_not_there(image, tmp_path, untouched):
    line = refused(image.write(), "--registers", tmp_path / "other.toml", *untouched)
    assert "other.toml: cannot be read" in line


def test_registers_that_are_not_toml(image, untouched):
    image.write()
    image.path.with_suffix(".toml").write_text("[GITS0\nCTLR = 1")
    assert "guest.toml: is not TOML" in refused(image.path, *untouched)


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        ("GITS0", "CTLR"),
        ("GITS0", "CBASER"),
        ("GITS0", "BASER0"),
        ("GITS0", "BASER1"),
        ("GICR0", "CTLR"),
        ("GICR1", "PROPBASER"),
        ("GICR1", "PENDBASER"),
        ("guest", "ram_base"),
        ("guest", "vcpus"),
    ],
)
def test_a_missing_register(image, untouched, frame, name):
    del image.registers[frame][name]
    assert f"guest.elf: its registers lack {name} in [{frame}]" in refused(image.write(), *untouched)


def test_more_vcpus_than_registers(image, untouched):
    image.registers["guest"]["vcpus"] = 3
    assert "its registers lack CTLR in [GICR2]" in refused(image.write(), *untouched)


REGISTERS_ASTRAY = [
    ("GITS0", "BASER0", GITS_BASER, "EFAULT: level 1 entry at 0xff00000000 is outside guest RAM"),
    ("GITS0", "BASER1", GITS_BASER, "EFAULT: CTE at 0xff00000000 is outside guest RAM"),
    ("GICR0", "PROPBASER", GICR_PROPBASER, "EFAULT: LPI configuration byte at 0xff000000"),
    ("GICR1", "PENDBASER", GICR_PENDBASER, "GICR1 PENDBASER: the pending table at 0xff00000000 is not in the image's"),
]


@pytest.mark.parametrize(("frame", "name", "layout", "message"), REGISTERS_ASTRAY)
def test_a_table_outside_ram(image, untouched, frame, name, layout, message):
    image.register(layout, frame, name, Physical_Address=OUTSIDE)
    if name == "PROPBASER":
        image.register(layout, "GICR1", name, Physical_Address=OUTSIDE)
    assert message in refused(image.write(), *untouched)


def test_a_level_2_page_outside_ram(image, untouched):
    image.edit(KVM_LEVEL1, image.level1, Physical_Address=OUTSIDE)
    assert "guest.elf: EFAULT: KVM_DTE at 0xff00000000 is outside guest RAM" in refused(image.write(), *untouched)


def test_an_itt_outside_ram(image, untouched):
    image.edit(KVM_DTE, image.dte, ITT_addr=OUTSIDE)
    assert "EFAULT: KVM_ITE at 0xff00000000 is outside guest RAM" in refused(image.write(), *untouched)


def test_a_dte_size_out_of_range(image, untouched):
    image.edit(KVM_DTE, image.dte, Size=16)
    assert "EINVAL: DTE of device 0x8: 17 EventID bits, at most 16" in refused(image.write(), *untouched)


def test_an_ite_whose_collection_does_not_exist(image, untouched):
    image.edit(KVM_ITE, image.itt + KVM_ITE.bytes, ICID=7)
    assert "EINVAL: ITE of device 0x8, event 0x1: ICID 0x7 is no collection" in refused(image.write(), *untouched)


def test_an_intid_below_8192(image, untouched):
    image.edit(KVM_ITE, image.itt, pINTID=8191)
    line = refused(image.write(), *untouched)
    assert "EINVAL: ITE of device 0x8, event 0x0: INTID 8191 is not an LPI, they start at 8192" in line


def test_an_intid_wider_than_any_vpt(image, untouched):
    """KVM takes it, the physical GIC does not."""
    image.edit(KVM_ITE, image.itt, pINTID=1 << 24)
    line = refused(image.write(), *untouched)
    assert "guest.elf: E" in line


def test_an_ite_that_leads_out_of_its_itt(image, untouched):
    image.edit(KVM_ITE, image.itt, next=9)
    assert "next 0x9 leads out of its 2-bit ITT" in refused(image.write(), *untouched)


def test_a_collection_of_a_vcpu_that_does_not_exist(image, untouched):
    image.edit(KVM_CTE, image.ctes, RDBase=2)
    assert "CTE of ICID 0x0: RDBase 0x2, but the VM has 2 vCPUs" in refused(image.write(), *untouched)


def test_a_collection_that_is_there_twice(image, untouched):
    image.edit(KVM_CTE, image.ctes + KVM_CTE.bytes, ICID=0)
    assert "EEXIST: CTE of ICID 0x0" in refused(image.write(), *untouched)


def test_a_queue_position_beyond_the_queue(image, untouched):
    image.register(GITS_CBASER, "GITS0", "CBASER", Size=0)
    image.registers["GITS0"]["CREADR"] = 0x1000
    assert "EINVAL: GITS_CREADR: offset 0x1000 is beyond" in refused(image.write(), *untouched)


@pytest.mark.parametrize(("vcpus", "shown"), [(0, 0), (513, 513)])
def test_a_number_of_vcpus_out_of_range(image, untouched, vcpus, shown):
    image.registers["guest"]["vcpus"] = vcpus
    assert f"[guest] vcpus is {shown}: from 1 to 512" in refused(image.write(), *untouched)


def test_an_image_that_starts_below_ram(image, untouched):
    image.registers["guest"]["ram_base"] = 0x8000_0000
    assert "[guest] ram_base is 0x80000000: page aligned, at most 0x431" in refused(image.write(), *untouched)


def test_an_image_of_nothing(image, untouched):
    write_registers(image.path.with_suffix(".toml"), image.registers)
    write_elf(image.path, GuestMemory(0x4000_0000, 0x1000))
    assert "guest.elf: no PT_LOAD program header holds any bytes" in refused(image.path, *untouched)


def test_registers_without_an_image(untouched):
    line = refused("--registers", CAPTURE / "registers.toml", *untouched)
    assert line == "--registers describes an IMAGE, and there is none"


@pytest.mark.parametrize("option", ["vcpus", "devices", "vectors", "pending", "seed"])
def test_options_that_an_image_leaves_without_effect(untouched, option):
    line = refused(IMAGE, f"--{option}", 1, *untouched)
    assert line == f"--{option} is for a VM that is made up; the one in IMAGE is as it was saved"


@pytest.mark.parametrize("arguments", [("--devices", 512, "--vectors", 128), ("--devices", 29, "--vectors", 2048)])
def test_a_vm_that_does_not_fit(untouched, arguments):
    line = refused(*arguments, *untouched)
    assert line.startswith("a VM of 4 vCPUs with ")
    assert "does not fit: ENOSPC: no " in line


def test_a_directory_to_save_in_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("here already")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        assert "file is not a directory" in refused("--devices", 0, "--save", target)
    assert (tmp_path / "file").read_text() == "here already"


def test_a_json_file_in_no_directory(tmp_path):
    target = tmp_path / "missing" / "verdict.json"
    assert refused("--devices", 0, "--json-file", target) == (
        f"{target}: cannot be written: {tmp_path / 'missing'} is not a directory"
    )


def test_a_json_file_that_is_a_directory(tmp_path):
    assert refused("--devices", 0, "--json-file", tmp_path) == f"{tmp_path}: cannot be written: it is a directory"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("os.geteuid() == 0", reason="root may write everywhere")
@pytest.mark.parametrize("option", ["--save", "--json-file"])
def test_a_place_without_permission(tmp_path, option):
    tmp_path.chmod(0o500)
    assert f"no permission for {tmp_path}" in refused("--devices", 0, option, tmp_path / "target")
