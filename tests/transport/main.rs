//! One suite that every kind of link passes. Set `PHALANX_TEST_SEED` to repeat a run.

mod conformance;
mod encryption;
mod endings;
mod rig;
mod sessions;
mod storms;
mod strangers;
mod waiting;
