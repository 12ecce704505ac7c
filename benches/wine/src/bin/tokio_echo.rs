//! An echo server on tokio, which on Windows asks its kernel for readiness (AFD poll).

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    // As many workers as the others have.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_io().build()?;
    // On a worker: what `block_on` runs itself, it runs beside the workers.
    runtime.block_on(async { tokio::spawn(serve()).await? })
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(echo(stream));
    }
}

/// Until the peer ends, or anything fails.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = vec![0; wine::BUFFER_BYTES];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..count]).await?;
    }
}
