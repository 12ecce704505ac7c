//! Whom reports are for: the token of a registered socket, and the bits nobody was told yet.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::port::contract::{Bits, Ready, Token};

/// The far side of a socket's reports.
#[derive(Debug, Default)]
pub(super) struct Whom {
    token: OnceLock<Token>,
    /// Bits to be told: before there is a token they wait for it.
    bits: AtomicU8,
    /// It stands in the port's list of notices: once, so the list is bounded by the sockets.
    listed: AtomicBool,
    /// The socket was closed: nothing is told any more.
    closed: AtomicBool,
}

impl Whom {
    /// Everything from now on is told under `token`. The caller gives a notice afterwards, which
    /// takes what came before with it.
    pub(super) fn register(&self, token: Token) -> std::io::Result<()> {
        let again = |_| std::io::ErrorKind::AlreadyExists.into();
        self.token.set(token).map_err(again)
    }

    /// Nobody is to be told any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether the socket was closed by its owner.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Adds bits; returns whether it is to be listed. Whoever adds bits without seeing the token
    /// is before `register`'s own notice, which takes them.
    pub(super) fn add(&self, bits: Bits) -> bool {
        let before = self.bits.fetch_or(bits.0, Ordering::AcqRel);
        let some = before | bits.0 != 0;
        some && self.token.get().is_some() && !self.listed.swap(true, Ordering::AcqRel)
    }

    /// The report of a notice that was taken from the list.
    pub(super) fn take_listed(&self) -> Option<Ready> {
        // First: bits that are added after the look below list it again.
        self.listed.swap(false, Ordering::AcqRel);
        self.take()
    }

    /// The report of a packet that adds these bits; takes all that were there.
    pub(super) fn report(&self, bits: Bits) -> Option<Ready> {
        self.bits.fetch_or(bits.0, Ordering::AcqRel);
        self.take()
    }

    fn take(&self) -> Option<Ready> {
        let token = *self.token.get()?;
        let bits = Bits(self.bits.swap(0, Ordering::AcqRel));
        (bits != Bits::default() && !self.is_closed()).then_some(Ready { token, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token::new(3, 4);

    #[test]
    fn what_came_before_the_token_is_told_with_it() {
        let whom = Whom::default();
        assert_eq!(whom.report(Bits::READ), None, "nobody to tell");
        assert!(!whom.add(Bits::ERROR), "nor to list");
        whom.register(TOKEN).unwrap();
        assert!(whom.add(Bits::WRITE), "to be listed");
        assert!(!whom.add(Bits::WRITE), "once");
        let bits = Bits::READ.with(Bits::ERROR).with(Bits::WRITE);
        assert_eq!(whom.take_listed(), Some(Ready { token: TOKEN, bits }));
        assert_eq!(whom.take_listed(), None);
        assert!(whom.register(TOKEN).is_err(), "once a socket");
    }

    #[test]
    fn a_closed_socket_has_nothing_to_tell() {
        let whom = Whom::default();
        whom.register(TOKEN).unwrap();
        whom.close();
        assert_eq!(whom.report(Bits::READ), None);
    }
}
