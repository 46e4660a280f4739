//! Parameters, and the named sets of them.

pub mod key_graph;
pub mod params;
pub mod sets;
