//! The server at the other end of real connections: with a toy's engine, and with that of blocks.

#[path = "../../toy/engine.rs"]
mod engine;

mod access;
mod blocks;
mod bodies;
mod keys;
mod load;
mod party;
mod requests;
mod restart;
mod support;
mod texts;
mod together;
