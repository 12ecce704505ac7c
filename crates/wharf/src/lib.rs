//! A completion-port network core for game servers.

pub mod frame;
