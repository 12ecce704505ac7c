//! Handlers that are stuck until a test lets them go.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Something that handlers get stuck in. Cloning gives another handle to the same.
#[derive(Clone)]
pub(crate) struct Hold(Arc<Inner>);

struct Inner {
    simulated: bool,
    state: Mutex<State>,
    changed: Condvar,
    #[cfg(feature = "sim")]
    gate: wharf::sim::Gate,
}

#[derive(Default)]
struct State {
    entered: usize,
    released: bool,
}

impl Hold {
    pub(super) fn new(simulated: bool) -> Self {
        Self(Arc::new(Inner {
            simulated,
            state: Mutex::default(),
            changed: Condvar::new(),
            #[cfg(feature = "sim")]
            gate: wharf::sim::Gate::new(),
        }))
    }

    /// Called by a handler: its worker is occupied until [`Self::release`].
    pub(crate) fn enter(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.entered += 1;
        if self.0.simulated {
            #[cfg(feature = "sim")]
            wharf::sim::hold_until(&self.0.gate);
            return;
        }
        let wait = self
            .0
            .changed
            .wait_timeout_while(state, Duration::from_secs(60), |state| !state.released);
        assert!(!wait.unwrap().1.timed_out(), "a held handler was forgotten");
    }

    /// How many handlers have entered so far.
    pub(crate) fn entered(&self) -> usize {
        self.0.state.lock().unwrap().entered
    }

    /// Lets all go, those to come as well.
    pub(crate) fn release(&self) {
        self.0.state.lock().unwrap().released = true;
        self.0.changed.notify_all();
        #[cfg(feature = "sim")]
        self.0.gate.open();
    }
}
