//! The invariants I1 to I7, as one piece of code: what the tests, `boxoffice verify` and the running system check.
