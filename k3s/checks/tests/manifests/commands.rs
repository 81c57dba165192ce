//! The scripts for a cluster, as far as they can be run without one.
