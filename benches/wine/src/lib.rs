//! What the echo servers share.

/// Bytes read at once: the size of a worker's buffer of wharf.
pub const BUFFER_BYTES: usize = 64 * 1024;
