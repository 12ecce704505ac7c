//! Emptied buffers, kept for the next partial frame, so that a steady state allocates none.

/// Emptied buffers that a worker keeps for the next partial frame.
const SPARE_BUFFERS: usize = 8;
/// The largest buffer worth keeping.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// A few emptied buffers.
#[derive(Debug, Default)]
pub(crate) struct Spare(Vec<Vec<u8>>);

impl Spare {
    /// An empty buffer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    /// Gives back a buffer that is no longer needed.
    pub(crate) fn put(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < SPARE_BUFFERS && (1..=SPARE_BYTES_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
