//! Lanes with a priority of their own: their turns run at it, and nothing else does.

use wharf::system::own_thread;
use wharf::{Host, Lane, Network};

use crate::support::{Act, World, finish};

/// One worker serves both lanes in turn: the links' turns are niced, the players' are not. Where
/// the system does not let a thread come back, all are alike, and the port tells.
pub(crate) fn a_lane_with_a_nice_value(w: &World) {
    let mut host = w.host();
    let front = host.port("front").workers(1).lane(Lane::new("players"));
    let front = front.lane(Lane::new("links").nice(9)).build().unwrap();
    let serve = |host: &mut Host, lane: &str| -> Network<Act<()>> {
        let tells = Act::new(|_| Ok(())).on_frame(|s, (), _| {
            let settings = own_thread().unwrap_or_default();
            Ok(s.send(settings.as_bytes())?)
        });
        let server = host.server(lane, tells).port(&front).lane(lane);
        server.listen(w.any_addr()).unwrap()
    };
    let (game, chat) = (serve(&mut host, "players"), serve(&mut host, "links"));
    host.start().unwrap();
    let mut player = w.connect(game.local_addr().unwrap());
    let mut link = w.connect(chat.local_addr().unwrap());
    let usual = player.ask(b"?");
    let real = w.sim().is_none() && !usual.is_empty();
    for _ in 0..5 {
        let niced = link.ask(b"?");
        let takes_it = real && front.refused_settings().is_empty();
        assert_eq!(
            niced != usual,
            takes_it,
            "{}",
            String::from_utf8_lossy(&niced)
        );
        assert_eq!(player.ask(b"?"), usual);
    }
    drop((player, link));
    finish(host);
}
