use std::io::{self, ErrorKind};
use std::time::Duration;

use super::*;
use crate::port::contract::{Ready, Wait};

/// A backend whose timer takes a moment to set, and that can do nothing else.
struct SlowTimer(Mutex<Option<Time>>);

impl Backend for SlowTimer {
    fn name(&self) -> &'static str {
        "slow timer"
    }
    fn now(&self) -> Time {
        Time::ZERO
    }
    fn wait(&self, _: &mut Vec<Ready>, _: usize, _: Wait) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn wake(&self) {}
    fn set_timer(&self, at: Option<Time>) {
        std::thread::sleep(Duration::from_micros(u64::from(at.is_some()) * 20));
        *self.0.lock() = at;
    }
    fn entropy(&self) -> u64 {
        0
    }
}

#[test]
fn of_two_threads_that_arm_the_earlier_deadline_is_set() {
    for round in 0..300 {
        let backend = Arc::new(SlowTimer(Mutex::default()));
        let port = PortCore::new("timers".into(), Arc::clone(&backend) as _, Vec::new());
        let at = |ms| Time::ZERO + Duration::from_millis(ms);
        std::thread::scope(|scope| {
            for (slot, ms) in [(0, 50), (1, 20)] {
                let arm = std::thread::Builder::new().name("arm".into());
                let port = &port;
                let arm = arm.spawn_scoped(scope, move || port.arm(Token::new(slot, 0), at(ms)));
                arm.unwrap();
            }
        });
        assert_eq!(*backend.0.lock(), Some(at(20)), "round {round}");
    }
}
