# SPDX-License-Identifier: Apache-2.0
"""Machine code on disk: what is stale, damaged, or cannot be written costs a compilation and nothing else."""

import fcntl
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gicmodel
from gicmodel import kernel_cache
from gicmodel.kernel_cache import KEPT_DIRECTORIES, cache_directory, prune

MODULES = ("__init__.py", "engine.py", "errors.py", "jit.py", "kernel_cache.py")
PROGRAM = "from gicmodel.hardware.kernels import answer\nprint(answer(), sum(answer.stats.cache_hits.values()))"
COMPILED_ANEW, FROM_THE_CACHE = "20 0", "20 1"


@pytest.fixture
def package(tmp_path):
    """A copy of the package's frame with two kernels, whose constant is in another module."""
    root = tmp_path / "checkout"
    for floor in ("layouts", "hardware", "kvm"):
        (root / "gicmodel" / floor).mkdir(parents=True)
        (root / "gicmodel" / floor / "__init__.py").touch()
    for name in MODULES:
        shutil.copy(Path(gicmodel.__file__).parent / name, root / "gicmodel")
    (root / "gicmodel/layouts/constant.py").write_text("CONSTANT = 20\n")
    (root / "gicmodel/hardware/kernels.py").write_text(
        "from gicmodel.jit import kernel\nfrom gicmodel.layouts.constant import CONSTANT\n"
        "@kernel\ndef half():\n    return CONSTANT // 2\n@kernel\ndef answer():\n    return half() + half()\n"
    )
    return root


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def answer(package, cache, program=PROGRAM, engine="compiled", **process):
    """Call the kernel in a fresh process: its answer, and how often machine code was found in the cache."""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=package,
        env=os.environ | {"PYTHONPATH": str(package), "NUMBA_CACHE_DIR": str(cache), "GICMODEL_ENGINE": engine},
        capture_output=True,
        text=True,
        check=False,
        **process,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def code(cache, name="answer"):
    (file,) = cache.glob(f"*/{name}-*.code")
    return file


# Stale


def test_an_edit_below_is_compiled_anew_and_the_rest_comes_from_the_cache(package, cache):
    assert answer(package, cache) == COMPILED_ANEW
    assert answer(package, cache) == FROM_THE_CACHE
    (package / "gicmodel/kvm/above.py").write_text("CONSTANT = 40\n")
    assert answer(package, cache) == FROM_THE_CACHE
    (package / "gicmodel/layouts/constant.py").write_text("CONSTANT = 30\n")
    assert answer(package, cache) == "30 0"


CALLED_FROM_C = """
import ctypes
from gicmodel.hardware.callbacks import twice
print(ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(twice.address)(21), twice.cache_hits)
"""


def test_what_c_calls_is_kept_too_on_either_engine(package, cache):
    (package / "gicmodel/hardware/callbacks.py").write_text(
        "import numba\nfrom gicmodel.jit import callback\n"
        "@callback(numba.uint64, numba.uint64)\ndef twice(value):\n    return value + value\n"
    )
    assert answer(package, cache, CALLED_FROM_C) == "42 0"
    assert answer(package, cache, CALLED_FROM_C) == "42 1"
    assert answer(package, cache, CALLED_FROM_C, engine="python") == "42 1"


@pytest.fixture
def fresh_digest():
    cache_directory.cache_clear()
    yield cache_directory
    cache_directory.cache_clear()


def test_bounds_checked_code_has_a_directory_of_its_own(fresh_digest, monkeypatch):
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    checked = fresh_digest()
    fresh_digest.cache_clear()
    monkeypatch.delenv("NUMBA_BOUNDSCHECK")
    assert fresh_digest() != checked


def test_the_cache_is_where_the_user_says(fresh_digest, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert fresh_digest("hardware").parent == tmp_path
    fresh_digest.cache_clear()
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(kernel_cache, "user_cache_path", lambda name: tmp_path / "user" / name)
    assert fresh_digest("hardware").parent == tmp_path / "user" / "gicmodel"


# Damaged


def flipped(content):
    """One bit in the middle: of machine code, or of the LLVM code that callers are compiled with."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "one byte long": lambda content: content + b"\0",
    "no digest": lambda content: content[32:],
    "a bit of the code": flipped,
    "a bit of the digest": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "noise": lambda content: bytes(range(256)) * 16,
}


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """Machine code of `package`, to be copied."""
    return tmp_path_factory.mktemp("warm") / "cache"


@pytest.fixture
def filled(package, cache, warm):
    """The cache with both kernels in it."""
    if not warm.exists():
        assert answer(package, warm) == COMPILED_ANEW
    shutil.copytree(warm, cache)
    return cache


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_compiled_anew_and_replaced(package, filled, damage):
    for file in (code(filled), code(filled, "half")):
        file.write_bytes(damage(file.read_bytes()))
    assert answer(package, filled) == COMPILED_ANEW
    assert answer(package, filled) == FROM_THE_CACHE


def test_the_code_of_another_kernel_is_not_taken(package, filled):
    shutil.copy(code(filled, "half"), code(filled))
    assert answer(package, filled) == COMPILED_ANEW


@pytest.mark.parametrize(
    "make",
    [
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("/nowhere/at/all"),
        lambda path: path.symlink_to(path),
    ],
    ids=["fifo", "directory", "/dev/zero", "dangling", "loop"],
)
def test_what_is_no_file_costs_a_compilation(package, filled, make):
    path = code(filled)
    path.unlink()
    make(path)
    assert answer(package, filled, timeout=60) == COMPILED_ANEW


# Not to be written


def test_without_a_place_for_the_cache_kernels_still_run(package, tmp_path):
    (tmp_path / "file").touch()
    assert answer(package, tmp_path / "file" / "cache") == COMPILED_ANEW


def test_a_directory_that_cannot_be_written_can_be_read(package, filled):
    """Root may write everywhere but to what is mounted read-only, or what is no directory."""
    before = {file: file.read_bytes() for file in filled.rglob("*.code")}
    mounted = subprocess.run(
        ["mount", "--bind", "-o", "ro", str(filled), str(filled)], capture_output=True, check=False
    ).returncode
    if mounted != 0:
        for entry in (filled, *filled.iterdir()):
            entry.chmod(0o555)
    try:
        assert answer(package, filled) == FROM_THE_CACHE
        (package / "gicmodel/layouts/constant.py").write_text("CONSTANT = 30\n")
        assert answer(package, filled) == "30 0"
    finally:
        if mounted == 0:
            subprocess.run(["umount", str(filled)], check=True)
        else:
            for entry in (filled, *filled.iterdir()):
                entry.chmod(0o755)
    assert {file: file.read_bytes() for file in filled.rglob("*.code")} == before


def limit_files():
    """Every write beyond 4 KiB fails, as on a full disk. Python ignores the signal that comes with it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_a_full_disk_leaves_nothing_half_written(package, cache):
    assert answer(package, cache, preexec_fn=limit_files) == COMPILED_ANEW
    assert {file.name for file in cache.glob("*/*")} == {"lock"}
    assert answer(package, cache) == COMPILED_ANEW
    assert answer(package, cache) == FROM_THE_CACHE


# Pruned


def directory(base, number, used):
    """One that was last used at a time, with a file in it."""
    path = base / f"{number:016x}"
    path.mkdir(parents=True)
    (path / "lock").touch()
    (path / "answer-0.code").write_bytes(b"code")
    os.utime(path / "lock", (used, used))
    return path


def names(base):
    return {path.name for path in base.iterdir()}


def test_the_directories_used_last_are_kept(cache):
    made = [directory(cache, number, 1000 + (number * 7) % 20) for number in range(20)]
    prune(cache)
    expected = sorted(made, key=lambda path: (path / "lock").stat().st_mtime if path.exists() else 0)[
        -KEPT_DIRECTORIES:
    ]
    assert {path for path in made if path.exists()} == set(expected)
    assert len(expected) == KEPT_DIRECTORIES


def test_a_directory_that_a_process_holds_is_kept(cache):
    made = [directory(cache, number, 1000 + number) for number in range(KEPT_DIRECTORIES + 2)]
    with (made[0] / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        prune(cache)
        assert [path.exists() for path in made[:3]] == [True, False, True]


def test_what_is_not_ours_is_kept(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    cache.mkdir()
    (cache / "kernels_0123456789abcdef0123456789abcdef01234567").mkdir()
    (cache / f"{99:016x}").mkdir()
    (cache / f"{98:016x}").write_text("a file")
    elsewhere = directory(tmp_path / "elsewhere", 97, 1)
    (cache / f"{97:016x}").symlink_to(elsewhere)
    before = names(cache)
    for number in range(KEPT_DIRECTORIES):
        directory(cache, number, 1000 + number)
    prune(cache)
    assert before <= names(cache)
    assert (elsewhere / "answer-0.code").exists()


def test_what_former_versions_left_is_removed_from_the_users_cache(cache, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    for number in range(KEPT_DIRECTORIES):
        directory(cache, number, 1000 + number)
    (cache / f"{99:016x}" / "kernels_0123").mkdir(parents=True)
    (cache / f"{98:016x}.{0:032x}").mkdir()  # whoever removed it was killed
    prune(cache)
    assert names(cache) == {f"{number:016x}" for number in range(KEPT_DIRECTORIES)}


def test_an_edit_prunes(package, cache):
    old = [directory(cache, number, 1000 + number) for number in range(KEPT_DIRECTORIES)]
    assert answer(package, cache) == COMPILED_ANEW
    assert [path.exists() for path in old] == [False] + [True] * (KEPT_DIRECTORIES - 1)


def test_many_may_prune_at_once(cache):
    for number in range(60):
        directory(cache, number, time.time() - number)
    program = "import sys\nfrom pathlib import Path\nfrom gicmodel.kernel_cache import prune\nprune(Path(sys.argv[1]))"
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(cache)], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate()[1] for process in processes] == [""] * 4
    prune(cache)
    assert names(cache) == {f"{number:016x}" for number in range(KEPT_DIRECTORIES)}
