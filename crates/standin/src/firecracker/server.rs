//! The API's socket.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;

use super::http::{Read1, Reader, Request, Response};

/// A request and who waits for its answer.
pub(crate) type Call = (Request, mpsc::SyncSender<Response>);

/// Binds the socket and serves it; requests of all connections come out one after the other.
pub(crate) fn start(path: &Path, limit: usize) -> io::Result<mpsc::Receiver<Call>> {
    let listener = UnixListener::bind(path)?;
    let (calls, received) = mpsc::sync_channel(16);
    std::thread::Builder::new().name("api".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let calls = calls.clone();
            let _ = std::thread::Builder::new().name("api-client".to_owned()).spawn(move || {
                // A client that goes away is no failure.
                let _ = serve(stream, limit, &calls);
            });
        }
    })?;
    Ok(received)
}

fn serve(mut stream: UnixStream, limit: usize, calls: &mpsc::SyncSender<Call>) -> io::Result<()> {
    let mut reader = Reader::new(stream.try_clone()?);
    loop {
        let request = match reader.next(limit) {
            Read1::Request(request) => request,
            Read1::Bad(response) => return response.write(&mut stream),
            Read1::End => return Ok(()),
        };
        let (answer, answered) = mpsc::sync_channel(1);
        if calls.send((request, answer)).is_err() {
            return Ok(());
        }
        let Ok(response) = answered.recv() else { return Ok(()) };
        response.write(&mut stream)?;
    }
}
