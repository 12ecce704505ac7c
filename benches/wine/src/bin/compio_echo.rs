//! An echo server on compio, which on Windows waits at a completion port, on one thread.

use std::io;

use compio::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    compio::runtime::Runtime::new()?.block_on(serve())
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        compio::runtime::spawn(echo(stream)).detach();
    }
}

/// Until the peer ends, or anything fails.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(wine::BUFFER_BYTES);
    loop {
        let BufResult(count, read) = stream.read(bytes).await;
        if count? == 0 {
            return Ok(());
        }
        let BufResult(written, sent) = stream.write_all(read).await;
        written?;
        bytes = sent;
        bytes.clear();
    }
}
