//! What can be set, and what to look at first.
//!
//! # First
//!
//! 1. Build with `--release`.
//! 2. Measure with few ranks, `phalanx bench -n 4`: it puts what the machine itself can do beside each figure.
//! 3. Overlap: post receives before the matching sends happen
//!    ([`scope`](crate::Communicator::scope), [`irecv`](crate::Communicator::irecv)). A payload that finds its
//!    receive posted is read straight into the buffer; one that does not is kept and copied.
//! 4. Keep buffers: [`recv_into`](crate::Communicator::recv_into) and
//!    [`recv_into_vec`](crate::Communicator::recv_into_vec) allocate nothing once the buffer is large enough. Plain elements are
//!    cheaper than objects (`*_obj`), which are encoded and decoded.
//! 5. Agree less often: one [`allreduce_into`](crate::Communicator::allreduce_into) of three elements costs as
//!    much as one of one element, and a third of three.
//! 6. Do not let ranks compute for seconds while others wait for long messages from them:
//!    [`progress`](crate::Communicator::progress) now and then lets those through.
//!
//! # Waiting
//!
//! A waiting rank polls, then offers its core to others a few times, then sleeps until something arrives. With
//! a core for every rank it polls for 100 microseconds and offers twice; otherwise it does not poll and offers
//! a hundred times. Ranks that share memory count how many of them are awake, others how many there are on the host.
//! While there is a core for each that is awake, one of two that find themselves on the same one moves to another; no
//! rank is bound.
//! `PHALANX_SPIN_MICROS` and `PHALANX_YIELDS` change both cases: more polling
//! helps when ranks wait for tens of microseconds and nothing else needs the cores; less helps when other
//! programs share the machine.
//!
//! # Collectives
//!
//! `phalanx algorithms -n RANKS OPERATION` prints which algorithm is chosen at which length, why, and which others
//! there are. To hold one against another:
//!
//! ```text
//! phalanx run -n 8 --env PHALANX_ALGORITHMS=allreduce=ring,bcast=chain ./solver
//! ```
//!
//! It must be the same for all ranks. A forced algorithm that reorders operands is passed over when the
//! operator is not commutative (see [`ordered`](crate::ordered)): results never depend on a setting, up to
//! rounding. Every algorithm gives the same bits on all ranks of an `allreduce`.
//!
//! # The environment
//!
//! | variable              | unit    | default                | what it sets                                      |
//! |-----------------------|---------|------------------------|---------------------------------------------------|
//! | `PHALANX_SPIN_MICROS` | µs      | 100, or 0 (see above)  | how long a waiting rank polls                     |
//! | `PHALANX_YIELDS`      | times   | 2, or 100 (see above)  | how often it offers its core before it sleeps     |
//! | `PHALANX_SINGLE_COPY` | 0 or 1  | as it suits; 1 above 16 ranks | one copy of long messages through shared memory |
//! | `PHALANX_TIMEOUT`     | seconds | none                   | limit for every blocking call                     |
//! | `PHALANX_ALGORITHMS`  | list    | none                   | algorithms of collectives                         |
//! | `PHALANX_THREADS`     | ranks   | 1                      | ranks as threads when there is no launcher        |
//!
//! [`Config`](crate::config::Config) has them all; [`limits`](crate::limits) holds every other bound, with its unit.
