//! A strand that sends every session in it a numbered frame each tick.

use super::super::wire::{Label, Op};
use super::accounts::{Member, count};
use super::handler::Players;
use wharf::{Network, SendError};

/// Bytes of a frame of the zone behind its numbers.
const BODY: usize = 30;

/// Who is in, and what each was sent.
#[derive(Default)]
pub(super) struct Zone {
    members: Vec<(Member, u32)>,
}

impl Zone {
    pub(super) fn enter(&mut self, member: Member) {
        self.members.push((member, 0));
    }

    /// A frame to each; who is over leaves. Then what the network holds is flushed.
    pub(super) fn tick(&mut self, flushed: &Network<Players>) {
        self.members.retain_mut(|(member, sent)| {
            let label = Label {
                op: Op::Zone,
                conn: member.account.number(),
                seq: *sent,
            };
            let result = member.session.send_with(|out| {
                label.payload(BODY, out);
                Ok::<(), SendError>(())
            });
            if result.is_ok() {
                *sent += 1;
                count(&member.account.zone);
            }
            result != Err(SendError::Closed)
        });
        flushed.flush();
    }
}
