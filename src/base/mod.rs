//! Layer 0: the words the other layers speak. Standard library only; no input, output or clock.

pub mod bell;
pub mod cell;
pub mod ids;
pub mod ring;
pub mod share;
pub mod words;
