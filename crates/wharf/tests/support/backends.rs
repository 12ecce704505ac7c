//! The backends of each system that the suites have tests for: named here and nowhere else.

/// Backends that the suites have tests for. One more in `wharf::backends()` fails a test, so that
/// none is forgotten.
#[cfg(target_os = "linux")]
pub(crate) const KNOWN_BACKENDS: &[&str] = &["epoll"];
#[cfg(target_os = "macos")]
pub(crate) const KNOWN_BACKENDS: &[&str] = &["kqueue"];
#[cfg(windows)]
pub(crate) const KNOWN_BACKENDS: &[&str] = &["iocp"];

/// Hands the rest to the arm `@sockets` of a macro of the harness, once a backend.
#[cfg(target_os = "linux")]
macro_rules! for_backends {
    ($then:ident $($rest:tt)*) => { $crate::support::$then! { @sockets epoll $($rest)* } };
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
