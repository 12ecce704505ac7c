//! What wharf says to the log. A `tracing` subscriber is the program's code and may panic, as the
//! usual one does when nobody reads the process's standard error any more. Behind the fence (G9)
//! that costs a line, and no worker, supervisor or stop.

/// An event of this level, as `tracing`'s macro of that name takes it.
macro_rules! say {
    ($level:ident, $($what:tt)+) => {{
        let _ = $crate::contain::contained(|| ::tracing::$level!($($what)+));
    }};
}

pub(crate) use say;
