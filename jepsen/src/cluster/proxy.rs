//! A proxy in front of each node: the network that needs no privileges.
//!
//! Node i listens on 127.0.1.i, which clients use directly, and tells the others that it is to be
//! found at 127.0.2.i, where its proxy listens. Nodes connect from their own address, so that the
//! proxy knows by the source of a connection whose bytes flow which way:
//!
//! ```text
//!   node 1 (127.0.1.1) ----> proxy of node 2 (127.0.2.2) ----> node 2 (127.0.1.2)
//!                    link 1->2 holds the bytes that go right, link 2->1 those that go left
//! ```
//!
//! Promises: what a stalled link holds back is delivered, in order, when it opens, as TCP would send
//! it again; a connection is only made when both directions are open. Does not promise what only
//! packets can show (reordering, duplication); loss shows as the delay that it causes.

mod pump;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::crew::Crew;
use super::links::{Block, Links};
use pump::{Hops, pump};

/// What a new connection may have sent before it is let through.
const PRELUDE_MAX: usize = 64 * 1024;
/// Before a listener that failed is asked again: it can only have been short of files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Where a node listens and connects from.
pub(super) fn own_address(seat: u32) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, u8::try_from(seat).expect("there are at most seven nodes"))
}

/// Where the others find it.
pub(super) fn proxy_address(seat: u32) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 2, u8::try_from(seat).expect("there are at most seven nodes"))
}

/// Starts the proxy of a node, which listens on the same port as the node itself.
pub(super) async fn start(crew: &Crew, links: &Links, seat: u32, port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((proxy_address(seat), port)).await?;
    let node = SocketAddr::from((own_address(seat), port));
    let (workers, links) = (crew.clone(), links.clone());
    crew.spawn("proxy", async move {
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            let hops = Hops { links: links.clone(), from: seat_of(from.ip()), to: seat };
            workers.spawn("connection", async move { carry(stream, node, &hops).await });
        }
    });
    Ok(())
}

/// Whose address this is; anybody else's connections are let through as they are.
fn seat_of(ip: IpAddr) -> Option<u32> {
    match ip {
        IpAddr::V4(ip) => match ip.octets() {
            [127, 0, 1, seat] => Some(u32::from(seat)),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

/// Carries one connection until both ends are done with it or a link is cut.
async fn carry(mut client: TcpStream, node: SocketAddr, hops: &Hops) {
    if hops.is_cut() {
        hops.count_refused();
        return reset(&client);
    }
    let Some(prelude) = until_open(&mut client, hops).await else { return reset(&client) };
    let Ok(mut server) = TcpStream::connect(node).await else { return reset(&client) };
    // Without it small frames would wait for acknowledgements, on loopback too.
    drop(client.set_nodelay(true));
    drop(server.set_nodelay(true));
    let broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = pump(from_client, to_server, hops.there(), prelude);
        let back = pump(from_server, to_client, hops.back(), Vec::new());
        tokio::select! {
            () = hops.until_cut() => true,
            // One end that is reset resets the other; one that is only done may still listen.
            ended = async { tokio::try_join!(there, back) } => ended.is_err(),
        }
    };
    if broken {
        reset(&client);
        reset(&server);
    }
}

/// Waits until both directions are open, while it keeps what arrives meanwhile. `None`: nobody waits
/// for the connection any more.
async fn until_open(client: &mut TcpStream, hops: &Hops) -> Option<Vec<u8>> {
    let mut prelude = Vec::new();
    if hops.is_open() {
        return Some(prelude);
    }
    let gone = async {
        let mut piece = vec![0; pump::PIECE];
        loop {
            match client.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    hops.count_withheld(read);
                    prelude.extend_from_slice(piece.get(..read).unwrap_or_default());
                }
            }
            if prelude.len() > PRELUDE_MAX {
                return;
            }
        }
    };
    let is_let = tokio::select! {
        () = gone => false,
        () = hops.until_cut() => false,
        () = hops.until_open() => true,
    };
    is_let.then_some(prelude)
}

/// Ends a connection so that the other side gets an error and not an end.
fn reset(stream: &TcpStream) {
    // A socket that is gone already needs none.
    drop(stream.set_zero_linger());
}

impl Hops {
    /// The directions that this connection uses, if it is one between nodes.
    fn pairs(&self) -> [Option<(u32, u32)>; 2] {
        [self.from.map(|from| (from, self.to)), self.from.map(|from| (self.to, from))]
    }

    fn blocks(&self) -> impl Iterator<Item = Block> {
        let links = self.pairs().into_iter().flatten();
        links.filter_map(|(from, to)| Some(self.links.get(from, to)?.settings().block))
    }

    fn is_cut(&self) -> bool {
        self.blocks().any(|block| block == Block::Cut)
    }

    fn is_open(&self) -> bool {
        self.blocks().all(|block| block == Block::Open)
    }

    /// An attempt counts, although nothing was sent yet.
    fn count_refused(&self) {
        self.count_withheld(1);
    }

    fn count_withheld(&self, bytes: usize) {
        for (from, to) in self.pairs().into_iter().flatten() {
            if let Some(link) = self.links.get(from, to)
                && link.settings().block != Block::Open
            {
                link.count_withheld(bytes);
            }
        }
    }

    async fn until_cut(&self) {
        let [there, back] = self.pairs().map(|pair| async move {
            match pair.and_then(|(from, to)| self.links.get(from, to)) {
                Some(link) => link.until(|block| block == Block::Cut).await,
                None => std::future::pending().await,
            }
        });
        tokio::select! { () = there => {}, () = back => {} }
    }

    async fn until_open(&self) {
        while !self.is_open() {
            for (from, to) in self.pairs().into_iter().flatten() {
                if let Some(link) = self.links.get(from, to) {
                    link.until(|block| block == Block::Open).await;
                }
            }
        }
    }
}
