//! Starting ranks, as processes or as threads; what they inherit; exit codes.
//!
//! ```text
//! phalanx run -n 4 ./solver input.dat                         a program that exists
//! phalanx run -n 4 --release --example cg -- matrix.mtx       cargo builds it first
//! phalanx run -n 4 --release --bin solver -- input.dat
//! phalanx run -n 1 ./ocean : -n 3 ./air                       several programs
//! phalanx run -n 4 --as threads ./solver input.dat            ranks as threads of one process
//! PHALANX_THREADS=4 ./solver input.dat                        the same, without the launcher
//! ```
//!
//! `phalanx run --help` lists all options.
//!
//! # Which hosts
//!
//! The hosts come from `--host a:2,b` or `--hostfile FILE`; else from the allocation of Slurm, LSF, PBS or SGE, or
//! the hostfile of the MPI Operator; else it is this machine with the cores that may be used. `-n` is the number of
//! all slots unless given. A hostfile has a host in each line, in any of these forms:
//!
//! ```text
//! node1 slots=2 max_slots=4          # Open MPI; also user=NAME port=N ifname=NAME
//! me@node2:2 ifname=eth1             # Hydra
//! node3                              # one slot each time it is named, as in PBS
//! node4 2 all.q@node4 UNDEFINED      # SGE
//! [fd00::1]:2                        # an IPv6 address
//! ```
//!
//! A host may run more ranks than its slots, never more than `max_slots`. `--map-by slot` (the default) fills one host
//! after the other, `--map-by node` goes round; `--ranks-per-node N` puts N on each. `--rank-by` numbers the places
//! in another order than they are given out. `--display-map` shows the result, `--dry-run` does no more than that.
//!
//! # Several programs
//!
//! ```text
//! phalanx run -n 1 ./ocean -v : -n 3 --env GRID=fine ./air : -n 2 --release --bin land
//! ```
//!
//! A bare `:` begins another program of the same job. Ranks are numbered through: here `ocean` is rank 0, `air` 1 to 3,
//! `land` 4 and 5. Each program needs its own `-n`, and has its own `--env`, `--wdir` and options to build; all other
//! options count for the whole job and stand before the first program. `--display-map` shows which ranks run what. Programs are
//! sent to other hosts like a single one.
//!
//! [`appnum`](crate::Communicator::appnum) tells which program a rank runs, and [`split`](crate::Communicator::split)
//! makes a communicator of that; scripts find the number in `PHALANX_APPNUM`.
//!
//! # Cores
//!
//! Ranks may use what the launcher, or the daemon of their host, may use, and the operating system moves them as it
//! likes. `--bind-to core` gives each rank a physical core of its own, with all its hardware threads; when ranks outnumber
//! cores, each has one hardware thread; when they outnumber those too, the job does not start (code 71).
//! `--bind-to auto` binds on each host where ranks do not outnumber cores and no limit on processor time holds (as
//! `docker run --cpus` sets), and leaves ranks free on the others. `--map-by core` is `--map-by slot --bind-to core`.
//! `--report-bindings` says what each rank got.
//!
//! Only processors count that the daemon may use itself: an allocation of Slurm, a cpuset of a container and `taskset`
//! are respected. Cores are given out in order, package by package; which of them another job of the same host is
//! bound to nobody knows, and two jobs that bind get the same ones. A rank that is bound has one core for all
//! its threads, and [`std::thread::available_parallelism`] tells it so; polling goes by the cores of the host all the
//! same. Ranks that are threads of one process are not bound.
//!
//! Ranks are not bound by default: programs that have threads in their ranks, and machines that several jobs share,
//! would suffer much, and the others gain little, since polling ranks that meet on a processor part by themselves.
//! On a machine of two cores, two ranks that were bound took as long as two that were not, in every figure of
//! `phalanx bench pingpong allreduce iterate`.
//!
//! # In the program
//!
//! [`run`](crate::run) takes the whole body of `main`, and leaves it to the user whether ranks are processes or
//! threads. It reports the error of a rank to the launcher, which prints the first one with the rank's name.
//! [`init`](crate::init) makes the process one rank, always; a program that nobody launched is then rank 0 of 1.
//! [`threads`](crate::threads) makes ranks of threads and gives their results: for tests, and for programs
//! that are ranked only in part.
//!
//! ```
//! // What a rank computes can be tested without a launcher.
//! fn mean(world: &phalanx::Communicator, mine: f64) -> phalanx::Result<f64> {
//!     Ok(world.allreduce(mine, phalanx::Sum)? / world.size() as f64)
//! }
//!
//! # fn main() -> phalanx::Result<()> {
//! let means = phalanx::threads(4, |world| mean(&world, world.rank() as f64))?;
//! assert_eq!(means, [1.5; 4]);
//! # Ok(())
//! # }
//! ```
//!
//! # Without the launcher
//!
//! A ranked program finds the others of its job by itself when one of these started it:
//!
//! ```text
//! srun --mpi=pmi2 -n 8 ./solver             Slurm, through PMI-2
//! mpiexec -n 8 ./solver                     Hydra (MPICH, Intel MPI), through PMI-1
//! torchrun --no-python ./solver             by MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE
//! ```
//!
//! or anything that gives each process these variables:
//!
//! | variable                     | meaning                                                                  |
//! |------------------------------|--------------------------------------------------------------------------|
//! | `PHALANX_RENDEZVOUS`         | `host:port` at which rank 0 listens, the same for all; the name may resolve late |
//! | `PHALANX_RANK`               | which rank this is; else `JOB_COMPLETION_INDEX` (a Kubernetes Indexed Job), `RANK` |
//! | `PHALANX_SIZE`               | how many there are; else `WORLD_SIZE`                                     |
//! | `PHALANX_SECRET_FILE`        | 32 bytes, or 64 hexadecimal digits, that all ranks know and nobody else; mode 600, or mounted from a Kubernetes Secret |
//! | `PHALANX_INSECURE`           | `1`: ranks on several machines meet without a secret, and whoever reaches the port may be one |
//! | `PHALANX_RENDEZVOUS_TIMEOUT` | seconds until missing ranks are given up and named; default 60            |
//!
//! `docs/jobs` has a script for `sbatch` and an Indexed Job to copy.
//!
//! Without a secret ranks meet on one machine only: when the address is a loopback one or one of this machine, and then
//! connections from elsewhere are not taken. Through PMI rank 0 tells the others a secret of its own. When torchrun's
//! agent keeps its store at `MASTER_PORT` (`TORCHELASTIC_USE_AGENT_STORE=True`), ranks meet at the next port.
//!
//! Rank 0 does for such a job what the launcher does else: it tells where all are, ends the job when a rank is lost
//! before it finalized, panics, fails or aborts, and prints one line that names it. If rank 0 is the one that is lost,
//! the first of the others prints it. A host that falls silent is given up after twelve seconds.
//! Rank 0 stays in `finalize` until all have finalized. The connections for this are encrypted and authenticated (Noise, `NNpsk0`). Processes of one host talk over Unix sockets instead of shared
//! memory, deadlocks are not looked for, and `agree` ends the job: that takes `phalanx run`.
//!
//! A process that was started as one of several and cannot find the others is told so by `init`, and what to do,
//! instead of being rank 0 of 1 many times.
//!
//! # Other hosts
//!
//! ```text
//! phalanx run --host a:2,b:2 -n 4 ./solver input.dat          through ssh, without a question
//! phalanx run --hostfile hosts -n 4 --ship-file input.dat ./solver input.dat
//! phalanx run --host a,b --no-ship ./solver input.dat         they have the same files
//! phalanx run --host web-0,web-1 --launcher kubectl ./solver  pods
//! phalanx run --host c1,c2 --launch-agent 'docker exec -i' ./solver
//! ```
//!
//! A host needs `sh` and what every system has beside it. The launcher sends itself (without its symbols), and the program as it is, if it is given as a path outside of
//! `/bin`, `/sbin`, `/usr/bin` and `/usr/sbin`; both are kept by their contents in `$XDG_CACHE_HOME/phalanx`, `~/.cache/phalanx`, or
//! `phalanx-UID` in `/tmp`, `/var/tmp` or `/dev/shm`, the first that only the user can write to and that has room; at most 32 files and
//! 2 GiB of them. Nothing else is sent but `--ship-file`: ranks elsewhere find such a file under the same name. They run in the same
//! directory as here, where it exists and no file was sent along; otherwise in a new one, which is removed with all that
//! is in it when they have ended. Hosts have to be of the same kind: system, processor, and a C library that is not older.
//!
//! Ranks are started everywhere or nowhere. When that takes longer than a second, a line on the terminal says how many hosts
//! are there and which are waited for; it is taken back, and `--quiet` leaves it out. A host that cannot be started within 12 s (`--start-timeout`) ends the job with code 71 and one line
//! with ssh's words. Host keys are checked as ssh is configured. Launcher and daemons hear of each other four times a second; a
//! host that is silent for 3 s (`--host-timeout`) is lost, with code 72, and the daemon there ends its ranks half a second before that. A
//! launcher that is stopped by its terminal (SIGTSTP) says so to the hosts and loses none; one that is stopped by SIGSTOP does not.
//!
//! # What is wrong with my hosts?
//!
//! `phalanx doctor --hostfile FILE` (or `--host`; without either, on this machine) goes to all hosts at the same time as `run` would,
//! and prints a table of what it has looked at, then a line for each thing that is not well, and how to mend it:
//!
//! ```text
//! wrong: node1 -> node2: connections: 10.0.0.3:20000, 10.0.0.3:20125 do not answer
//!   mend: a firewall drops what node1 sends: let TCP ports 20000-20999 through from node1 to node2, or choose others with --ports
//! ```
//!
//! | it looks at            | wrong                                           | a warning                                       |
//! |------------------------|-------------------------------------------------|-------------------------------------------------|
//! | start, phalanx         | ssh does not get there (with its own words), no place for a copy, another build | |
//! | system                 |                                                 | a C library that is older than the one here     |
//! | clock                  |                                                 | more than a second from ours: logs do not fit together |
//! | cache, temporary files | cannot be written to, or full                   | less than 64 MiB free; not the usual cache      |
//! | cores                  |                                                 | more slots than cores, or than a control group's quota |
//! | open files, processes  | too few for the daemon and its ranks            | too few files for a rank that speaks to all     |
//! | locked memory          |                                                 | (shown only: ranks need none)                   |
//! | shared memory          |                                                 | no memfd: ranks of the host use sockets         |
//! | single copy            |                                                 | no `process_vm_readv` (Yama, seccomp): long messages are copied twice |
//! | addresses              | none that others could reach, no free port      | some of them only                               |
//! | connections            | no address on which all ports can be reached    | an address that cannot, beside one that can     |
//!
//! Connections are tried between every pair of hosts, both ways, at the addresses and ports that ranks would use, so give it the same
//! `--interface` and `--ports`; both ends prove to each other that they belong together, as ranks do. Of a range of ports up to eight are
//! tried, its ends among them. Every look has a deadline of seconds. `--json` prints all of it for programs, `--verbose` a row
//! for each host. The code is 0 when nothing is wrong (there may be warnings), else 1.
//!
//! # What ranks inherit
//!
//! * The environment of the launcher, `--env NAME=VALUE` on top, and `PHALANX_RANK`, `PHALANX_SIZE`,
//!   `PHALANX_LOCAL_RANK`, `PHALANX_APPNUM` and `PHALANX_JOB`, for scripts.
//! * On another host, the environment that the host gives them, and of ours what begins with `PHALANX_` or `RUST_`,
//!   save names with `SECRET`, `TOKEN`, `PASSWORD` or `KEY` in them. `--env NAME` takes any other along. `ifname=` in a
//!   hostfile sets `PHALANX_INTERFACE` for the ranks of its host; `--interface` and `--env` count more.
//! * The working directory, or `--wdir`. A host that does not have it lets its ranks run in the home directory, which a
//!   line says; one that `--wdir` names must exist on every host.
//! * Standard input: rank 0 gets it, the others an empty one. `--stdin 3` gives it to rank 3, `--stdin all` the whole
//!   of it to every rank, and `--stdin none` to nobody: then the launcher reads none of its own. It is read no faster
//!   than ranks take it. With `all` each reads at its own pace, and one that closes it, or ends, is not waited for; one
//!   that does not read holds up nobody until 64 MiB wait for it. From then on the others get no more than it does, and
//!   after two seconds a line names it. Nothing is lost.
//! * Standard output and error of all ranks are forwarded in whole lines, with `--tag-output` each behind its rank, in a colour of its own on a terminal (unless
//!   `NO_COLOR` is set). With `--output-dir DIR` they go, unchanged, to files such as `DIR/rank-03.out` and
//!   `DIR/rank-03.err` instead; files of these names are made anew, and a disk that is full ends the job.
//! * SIGINT, SIGTERM and SIGHUP reach every rank; the second one kills. SIGUSR1 and SIGUSR2 are
//!   passed on as they are.
//!
//! No rank outlives the job: when the launcher or a daemon is killed, even by SIGKILL, so are the ranks (on
//! Linux by the kernel; elsewhere a rank sees the end of its control stream).
//!
//! # How it ends
//!
//! The exit code is 0 when every rank ended with 0, else that of the first rank that failed, or 128 and the
//! signal's number. A rank that leaves with 0 while it has not finalized has failed too (code 1). Codes of the
//! launcher itself:
//!
//! | code | meaning                                                             |
//! |------|---------------------------------------------------------------------|
//! | 2    | the command line is wrong                                           |
//! | 71   | the job could not be started (no such program, the build failed)    |
//! | 72   | a host or its daemon was lost                                       |
//! | 73   | collectives that do not match, or a deadlock                        |
//! | 75   | a time limit ran out: `--timeout`, or one of the program            |
//! | 76   | messages that make no sense, or another version of the library      |
//! | 77   | a process could not prove that it belongs to the job                |
//! | 141  | the reader of the output has gone, or its files cannot be written   |
//!
//! `--verbose` adds which hosts are used, who named them, and where daemons run; `--quiet` leaves out notes.
//!
//! Without the launcher the code of a lost rank is 72 for all others, since nobody sees its own; 71 says that a rank
//! did not find the others; a panic is 101, an abort its code. What the whole job's code is, `srun` or `mpiexec` decides.
//!
//! More ranks than cores, and running as root, need no flag.
