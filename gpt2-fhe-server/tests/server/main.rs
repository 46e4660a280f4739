//! The server with a toy's engine, at the other end of real connections.

#[path = "../../toy/engine.rs"]
mod engine;

mod access;
mod bodies;
mod keys;
mod requests;
mod restart;
mod support;
mod texts;
mod together;
