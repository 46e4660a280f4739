//! Parameters, and the named sets of them.

pub mod params;
pub mod ring_pair;
pub mod sets;
