"""Who is compared, with which settings: for every peer its defaults and what is known to serve it best.

Where ranks outnumber the cores, the peers poll; each has switches that make it yield, and none of them is best
everywhere. So all of them run, and the ratios are taken to the best of each figure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from install import Installed

TITLES = {"phalanx": "Phalanx", "openmpi": "Open MPI", "mpich": "MPICH", "impi": "Intel MPI"}


@dataclass(frozen=True)
class Setting:
    """One way to run a peer."""

    peer: str
    name: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict, hash=False)
    #: Whether it is of use when every rank has a core, and when ranks outnumber the cores.
    fits: bool = True
    oversubscribed: bool = True
    #: Whether it is run for start-up and memory, too, which hardly depend on how ranks wait.
    whole_jobs: bool = True

    @property
    def label(self) -> str:
        return f"{self.peer} {self.name}"

    def applies(self, ranks: int, cores: int, *, alone: bool) -> bool:
        useful = self.fits if ranks <= cores else self.oversubscribed
        return useful and (self.whole_jobs or not alone)


_THROTTLE = {
    "MPIR_CVAR_CH4_PROGRESS_THROTTLE": "1",
    "MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT": "1",
    "MPIR_CVAR_POLLS_BEFORE_YIELD": "1",
}
#: The collectives that spin in shared memory without ever yielding, replaced by those over point-to-point messages.
_NO_RELEASE_GATHER = {
    f"MPIR_CVAR_{name}_POSIX_INTRA_ALGORITHM": "mpir" for name in ("BARRIER", "BCAST", "REDUCE", "ALLREDUCE")
}
_OPEN_MPI_YIELD = ("--bind-to", "none", "--mca", "mpi_yield_when_idle", "1")
_OPEN_MPI_NANOSLEEP = (*_OPEN_MPI_YIELD, "--mca", "threads_pthreads_yield_strategy", "nanosleep")
_INTEL_SHM = {"I_MPI_FABRICS": "shm"}
_INTEL_WAIT, _INTEL_YIELD = {"I_MPI_WAIT_MODE": "1"}, {"I_MPI_THREAD_YIELD": "2"}

SHARED_MEMORY = [
    # More ranks than cores are refused without OVERSUBSCRIBE, so there even the defaults have it (`command`).
    Setting("openmpi", "default"),
    Setting("openmpi", "yield", _OPEN_MPI_YIELD, fits=False),
    Setting("openmpi", "nanosleep", _OPEN_MPI_NANOSLEEP, fits=False, whole_jobs=False),
    Setting("mpich", "default"),
    Setting("mpich", "bound", ("-bind-to", "core"), oversubscribed=False, whole_jobs=False),
    Setting("mpich", "p2p-collectives", environment=_NO_RELEASE_GATHER, whole_jobs=False),
    Setting("mpich", "throttled", environment=_THROTTLE, fits=False, whole_jobs=False),
    Setting("mpich", "throttled p2p-collectives", environment=_THROTTLE | _NO_RELEASE_GATHER, fits=False),
    Setting("impi", "default"),
    Setting("impi", "shm", environment=_INTEL_SHM, oversubscribed=False),
    Setting("impi", "wait", environment=_INTEL_SHM | _INTEL_WAIT, fits=False, whole_jobs=False),
    Setting("impi", "yield", environment=_INTEL_SHM | _INTEL_YIELD, fits=False, whole_jobs=False),
    Setting("impi", "wait yield", environment=_INTEL_SHM | _INTEL_WAIT | _INTEL_YIELD, fits=False),
]

_OPEN_MPI_TCP = ("--mca", "pml", "ob1", "--mca", "btl", "self,tcp")
_MPICH_OFI = {"MPIR_CVAR_NOLOCAL": "1", "MPIR_CVAR_CH4_NETMOD": "ofi"}
_MPICH_UCX = {"MPIR_CVAR_NOLOCAL": "1", "MPIR_CVAR_CH4_NETMOD": "ucx"}
#: Otherwise the collectives of ranks on one host use shared memory all the same.
_INTEL_TCP = {"I_MPI_FABRICS": "ofi", "FI_PROVIDER": "tcp", "I_MPI_COLL_INTRANODE": "pt2pt"}

TCP = [
    Setting("openmpi", "default", _OPEN_MPI_TCP),
    Setting("openmpi", "yield", (*_OPEN_MPI_TCP, *_OPEN_MPI_YIELD), fits=False),
    Setting("mpich", "ofi tcp", environment=_MPICH_OFI | {"FI_PROVIDER": "tcp"}),
    Setting("mpich", "ofi sockets", environment=_MPICH_OFI | {"FI_PROVIDER": "sockets"}),
    Setting("mpich", "ucx tcp", environment=_MPICH_UCX | {"UCX_TLS": "tcp,self"}),
    Setting("impi", "default", environment=_INTEL_TCP),
    Setting("impi", "wait yield", environment=_INTEL_TCP | _INTEL_WAIT | _INTEL_YIELD, fits=False),
]


def command(setting: Setting, installed: Installed, ranks: int, cores: int, arguments: list[str]) -> list[str]:
    """The command that runs the benchmark on a peer."""
    flags = list(setting.arguments)
    if setting.peer == "openmpi" and ranks > cores:
        flags = ["--map-by", ":OVERSUBSCRIBE", *flags]
    return [installed.mpiexec, *flags, "-n", str(ranks), str(installed.program), *arguments]


def environment(setting: Setting, installed: Installed) -> dict[str, str]:
    """What the environment of that command has besides ours."""
    extra = dict(setting.environment)
    if setting.peer == "openmpi":
        extra |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    if setting.peer == "impi":
        extra |= {"I_MPI_ROOT": str(installed.root), "LD_LIBRARY_PATH": str(Path(installed.root) / "lib")}
    return extra
