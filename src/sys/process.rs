//! Processes: what a child must do between `fork` and `exec`, and the descriptors it inherits.
