//! What is known of a set without running anything: noise, failure, security.

pub mod distribution;
pub mod noise;
pub mod security;
