//! Nothing: the package is its list of dependencies.
//!
//! Cargo gives an outside crate the features that the packages being built ask for, so that `cargo test -p nn` after
//! `cargo test --workspace` would compile some of them anew. A dependency of every package on this one makes the
//! features the same always.
