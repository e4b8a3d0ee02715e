# SPDX-License-Identifier: Apache-2.0
"""A kernel's files become a library, once; what cannot become one is one line."""

import tempfile
from pathlib import Path

import pytest

from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.linux import build
from gicmodel.fuzzing.peers.linux.build import Library, built, definition
from gicmodel.fuzzing.peers.linux.kvm.linux_vm import VGIC
from gicmodel.fuzzing.peers.linux.kvm.peer import LinuxKvm
from gicmodel.fuzzing.peers.linux.source import KernelSource

C = """
struct kvm {
\tint n;
};

static int first(struct kvm *kvm,
\t\t int n)
{
\tif (n) {
\t\treturn second(kvm);
\t}
\treturn 0;
}

int first(struct kvm *kvm, int n);

int second(struct kvm *kvm)
{
\treturn first(kvm, 0);
}
"""


def test_a_definition_is_cut_out_whole():
    assert definition(C, "struct kvm") == "struct kvm {\n\tint n;\n};\n"
    assert definition(C, "first").startswith("static int first(struct kvm *kvm,\n\t\t int n)\n{\n")
    assert definition(C, "first").endswith("\treturn 0;\n}\n")
    assert definition(C, "second") == "int second(struct kvm *kvm)\n{\n\treturn first(kvm, 0);\n}\n"
    with pytest.raises(UnusableInput, match="no third where it is looked for"):
        definition(C, "third")


def test_a_library_is_built_once_and_not_believed_if_damaged(
    peer: LinuxKvm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = built(peer.source, VGIC)
    compiled = []
    compile_it = build._compile
    monkeypatch.setattr(build, "_compile", lambda *args: compiled.append(args) or compile_it(*args))
    assert built(peer.source, VGIC) == library
    assert compiled == []
    octets = library.read_bytes()
    library.write_bytes(octets[:-1])
    assert built(peer.source, VGIC).read_bytes() == octets
    assert len(compiled) == 1


def test_a_library_is_loaded_from_where_it_is_kept(peer: LinuxKvm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing need be executed anywhere else."""
    kept = built(peer.source, VGIC)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    library = Library(kept)
    assert library.died_at == ""
    library.close()
    (tmp_path / "none.so").write_bytes(b"\x7fELF")
    with pytest.raises(UnusableInput, match=rf"^{tmp_path}/none.so: cannot be loaded: "):
        Library(tmp_path / "none.so")
    assert [path.name for path in tmp_path.iterdir()] == ["none.so"]


def test_a_kernel_that_does_not_compile_is_one_line(peer: LinuxKvm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = "arch/arm64/kvm/vgic/vgic.c"
    source = KernelSource(Path("here"), peer.source.files | {path: peer.source.files[path] + b"\nint of(nobody *);\n"})
    with pytest.raises(UnusableInput, match=r"^here: Linux [\w.-]+ does not compile here: .*nobody") as caught:
        built(source, VGIC)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.so"))


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UnusableInput, match=r"^no C compiler is installed \(Debian: gcc\)$"):
        LinuxKvm().require()
