//! The backends of each system that the suites have tests for: named here and nowhere else.

/// Backends that the suites have tests for. One more in `wharf::backends()` fails a test, so that
/// none is forgotten.
#[cfg(target_os = "linux")]
pub(crate) const KNOWN_BACKENDS: &[&str] = &["epoll", "uring"];
#[cfg(target_os = "macos")]
pub(crate) const KNOWN_BACKENDS: &[&str] = &["kqueue"];
#[cfg(windows)]
pub(crate) const KNOWN_BACKENDS: &[&str] = &["iocp"];

/// Those that a machine may refuse although all is well: kernels and containers forbid rings. Their
/// tests say that they were skipped.
pub(crate) const MAY_BE_REFUSED: &[&str] = &["uring"];

/// Hands the rest to the arm `@sockets` of a macro of the harness, once a backend.
#[cfg(target_os = "linux")]
macro_rules! for_backends {
    ($then:ident $($rest:tt)*) => {
        $crate::support::$then! { @sockets epoll $($rest)* }
        $crate::support::$then! { @sockets uring $($rest)* }
    };
}
#[cfg(target_os = "macos")]
macro_rules! for_backends {
    ($then:ident $($rest:tt)*) => { $crate::support::$then! { @sockets kqueue $($rest)* } };
}
#[cfg(windows)]
macro_rules! for_backends {
    ($then:ident $($rest:tt)*) => { $crate::support::$then! { @sockets iocp $($rest)* } };
}

pub(crate) use for_backends;
