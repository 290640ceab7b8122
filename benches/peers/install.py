"""Brings the peers: a virtual environment for each, and the benchmark compiled with its wrapper."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("bench.c")
PACKAGES = {"openmpi": "openmpi", "mpich": "mpich", "impi": "impi-rt"}
#: Intel's package has no compiler wrapper: it runs what MPICH's compiled, as both have the same binary interface.
COMPILED_BY = {"openmpi": "openmpi", "mpich": "mpich", "impi": "mpich"}


class InstallError(Exception):
    """A peer could not be brought, with the reason."""


@dataclass(frozen=True)
class Installed:
    """A peer as it lies on the disk."""

    root: Path
    program: Path
    version: str

    @property
    def mpiexec(self) -> str:
        return str(self.root / "bin" / "mpiexec")


def install(cache: Path, peers: list[str]) -> dict[str, Installed]:
    """Makes what is missing in `cache` and reuses the rest; the first time it downloads about 200 MB."""
    if not shutil.which("cc"):
        raise InstallError("no C compiler `cc` on the search path; the wrappers of the peers need one")
    roots = {peer: _environment(cache, peer) for peer in sorted(set(peers) | {COMPILED_BY[peer] for peer in peers})}
    programs = {peer: _compiled(cache, peer, roots[peer]) for peer in sorted({COMPILED_BY[peer] for peer in peers})}
    return {peer: Installed(roots[peer], programs[COMPILED_BY[peer]], _version(roots[peer], peer)) for peer in peers}


def _environment(cache: Path, peer: str) -> Path:
    root, done = cache / peer, cache / f"{peer}.installed"
    if not done.exists():
        print(f"installing {PACKAGES[peer]} into {root}", file=sys.stderr)
        venv.create(root, with_pip=True, clear=True)
        _checked([str(root / "bin" / "python"), "-m", "pip", "install", "--quiet", PACKAGES[peer]])
        done.touch()
    return root


def _compiled(cache: Path, peer: str, root: Path) -> Path:
    program = cache / f"bench-{peer}"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        path = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        wrapper = str(root / "bin" / "mpicc")
        _checked([wrapper, "-O2", "-Wall", "-Wextra", str(SOURCE), "-o", str(program)], {**os.environ, "PATH": path})
    return program


def _version(root: Path, peer: str) -> str:
    name = PACKAGES[peer].replace("-", "_")
    for record in root.glob(f"lib/python*/site-packages/{name}-*.dist-info"):
        return record.name.removeprefix(f"{name}-").removesuffix(".dist-info")
    return "of unknown version"


def _checked(command: list[str], environment: dict[str, str] | None = None) -> None:
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise InstallError(f"{' '.join(command)}\n{result.stdout}{result.stderr}".rstrip())
