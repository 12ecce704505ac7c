//! Blocking handlers in virtual time: the worker that runs one stays occupied.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Something that a simulated handler may wait for: shut until [`Self::open`], then open for ever.
///
/// ```
/// let gate = wharf::sim::Gate::new();
/// assert!(!gate.is_open());
/// gate.clone().open();
/// assert!(gate.is_open());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// A gate that is shut.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everyone pass, those who wait and those to come.
    pub fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was opened.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What the handlers of one step asked for.
#[derive(Debug, Default)]
pub(super) struct Holds {
    pub(super) time: Duration,
    pub(super) gates: Vec<Gate>,
}

impl Holds {
    pub(super) fn is_empty(&self) -> bool {
        self.time.is_zero() && self.gates.is_empty()
    }
}

thread_local! {
    /// Set while this thread steps a simulated worker.
    static CURRENT: RefCell<Option<Holds>> = const { RefCell::new(None) };
}

/// Occupies the worker that runs this handler for `time` of virtual time, as a handler that sleeps
/// would occupy its thread. It takes effect when the worker's step ends; several calls in one step
/// add up.
///
/// Call it inside a handler or job that a [`Sim`](super::Sim) drives. Anywhere else it does
/// nothing, so that one handler can serve in a test and in production.
pub fn hold(time: Duration) {
    note(|holds| holds.time = holds.time.saturating_add(time));
}

/// Occupies the worker that runs this handler until `gate` is open, as a handler that waits for
/// something would. It takes effect when the worker's step ends. Outside a simulation it does
/// nothing, as [`hold`].
pub fn hold_until(gate: &Gate) {
    note(|holds| holds.gates.push(gate.clone()));
}

/// How long the step that runs on this thread is held so far, for those who measure callbacks.
pub(crate) fn held() -> Duration {
    CURRENT.with_borrow(|current| current.as_ref().map_or(Duration::ZERO, |holds| holds.time))
}

fn note(add: impl FnOnce(&mut Holds)) {
    CURRENT.with_borrow_mut(|current| {
        if let Some(holds) = current {
            add(holds);
        }
    });
}

/// Runs one step and says what was held in it. A step inside a step keeps its own account.
pub(super) fn during<R>(step: impl FnOnce() -> R) -> (R, Holds) {
    /// Gives the outer step its account back, also when the inner one panics.
    struct Outer(Option<Holds>);
    impl Drop for Outer {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _outer = Outer(CURRENT.replace(Some(Holds::default())));
    let result = step();
    (result, CURRENT.take().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_add_up_and_nest() {
        hold(Duration::from_secs(1));
        let ((), outer) = during(|| {
            hold(Duration::from_millis(1));
            let ((), inner) = during(|| hold_until(&Gate::new()));
            assert_eq!((inner.time, inner.gates.len()), (Duration::ZERO, 1));
            hold(Duration::from_millis(2));
        });
        assert_eq!(
            (outer.time, outer.gates.len()),
            (Duration::from_millis(3), 0)
        );
        assert!(during(|| ()).1.is_empty());
    }
}
