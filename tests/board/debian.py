# SPDX-License-Identifier: Apache-2.0
"""Debian's current arm64 cloud kernel, from Debian's archive, as a user would fetch it; kept in the user's cache.

apt has a state of its own for it: nothing of the machine's is changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

from tests.conftest import missing

META_PACKAGE = "linux-image-cloud-arm64"
DIRECTORY = user_cache_path("gicmodel") / "debian-arm64"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_TARGETS = ("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)")
_OF_DEBIAN = ("Created-By: Packages", "Origin: Debian", "Component: main")
_SECONDS = 300


@cache
def kernel() -> Path:
    """The kernel's image; `missing` where it cannot be had."""
    return next((root() / "boot").glob("vmlinuz-*"))


@cache
def modules() -> Path:
    """The directory of its modules."""
    return next((root() / "lib/modules").iterdir()) / "kernel"


@cache
def root() -> Path:
    """The kernel's package, unpacked."""
    if not DIRECTORY.exists():
        for program in ("apt-get", "apt-cache", "dpkg-deb"):
            if shutil.which(program) is None:
                missing(f"no Debian kernel: {program} is not installed")
        try:
            _fetch(DIRECTORY.with_name(f"{DIRECTORY.name}.{os.getpid()}"))
        except (OSError, subprocess.SubprocessError, StopIteration) as error:
            missing(f"no Debian kernel: {getattr(error, 'stderr', None) or error}")
    return DIRECTORY


def _fetch(place: Path) -> None:
    place.mkdir(parents=True)
    try:
        environment = os.environ | {"APT_CONFIG": str(_configure(place / "apt"))}
        _run("apt-get", "-qq", "update", cwd=place, env=environment)
        depends = _run("apt-cache", "depends", META_PACKAGE, cwd=place, env=environment)
        package = next(re.finditer(r"Depends: (linux-image-\S+)", depends))[1]
        # Unsigned is the same kernel, and the one that is there for a machine without a chain of trust.
        _run("apt-get", "-q", "download", f"{package}-unsigned", cwd=place, env=environment)
        (file,) = place.glob("*.deb")
        _run("dpkg-deb", "-x", str(file), str(place / "root"), cwd=place)
        (place / "root").rename(DIRECTORY)
    finally:
        shutil.rmtree(place)


def _configure(state: Path) -> Path:
    """apt's configuration for arm64 packages of the suites that the machine uses."""
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    sources = sorted(set(_run(*_TARGETS, *_OF_DEBIAN).splitlines()))
    if not sources:
        raise OSError("this machine's apt knows no archive of Debian")
    lines = [f"deb [signed-by={_KEYRING}] {source} main\n" for source in sources]
    (state / "sources.list").write_text("".join(lines))
    file = state / "apt.conf"
    file.write_text(
        'APT::Architecture "arm64"; APT::Architectures { "arm64"; }; APT::Sandbox::User "root";\n'
        f'Dir::Etc::SourceList "{state}/sources.list"; Dir::Etc::SourceParts "-"; Dir::Cache "{state}/cache";\n'
        f'Dir::State::Lists "{state}/lists"; Dir::State::Status "{state}/status";\n'
    )
    return file


def _run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=True, timeout=_SECONDS
    ).stdout
