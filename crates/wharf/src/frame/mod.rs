//! Bytes to frames and back: no I/O, no clock.
