//! The way of a request: counted, perhaps met by a fault, answered, held to the description.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::faults::Effect;
use super::http::{self, Ask, Reply};
use super::shared::{Shared, TICK};
use super::{hooks, limits, rest, runner, scaleset};

/// The longest body of a request.
const BODY: usize = 8 << 20;

/// The connection is to break without an answer.
#[derive(Debug)]
pub(super) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut by a fault")
    }
}

impl std::error::Error for Cut {}

/// Accepts connections and delivers webhooks until it is stopped.
pub(super) fn serve(shared: Arc<Shared>, listener: TcpListener) -> impl Future<Output = ()> + Send + use<> {
    let mut stopped = shared.stopped();
    async move {
        let run = async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let mut tasks = JoinSet::new();
            tasks.spawn(hooks::deliver(shared.clone()));
            let mut tick = tokio::time::interval(TICK);
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((stream, _)) = accepted.and_then(|(stream, from)| Ok((stream.into_std()?, from))) {
                            tasks.spawn(connection(shared.clone(), stream));
                        }
                    }
                    _ = tick.tick() => {
                        shared.with(|_| ());
                        while tasks.try_join_next().is_some() {}
                    }
                }
            }
        };
        tokio::select! {
            () = run => {}
            _ = stopped.changed() => {}
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: std::net::TcpStream) {
    // Kept to make the kernel send a reset instead of an orderly end.
    let Ok(kept) = stream.try_clone() else { return };
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request| {
        let (shared, reset) = (shared.clone(), reset.clone());
        async move {
            let reply = answer(&shared, request).await;
            reset.store(reply.is_err(), Ordering::Relaxed);
            reply.map(response)
        }
    });
    let http = hyper::server::conn::http1::Builder::new();
    tokio::select! {
        _ = http.serve_connection(TokioIo::new(stream), service) => {}
        // An idle connection breaks as well: a client would send its next request over it.
        () = shared.down() => reset.store(true, Ordering::Relaxed),
    }
    if reset.load(Ordering::Relaxed) {
        let _ = rustix::net::sockopt::set_socket_linger(&kept, Some(Duration::ZERO));
    }
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(reply.body.into())).unwrap_or_else(|_| Response::new(Full::default()))
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Reply, Cut> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY).collect().await.map_err(|_| Cut)?.to_bytes();
    let ask = Ask {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: http::query(head.uri.query().unwrap_or("")),
        headers: head.headers,
        body,
    };
    let rest = ask.path.strip_prefix(rest::PREFIX);
    let effect = shared.with(|state| {
        let path = rest.unwrap_or(&ask.path);
        state.calls.count(&ask.method, path);
        state.touch();
        state.faults.meet(&ask.method, path)
    });
    let _under_way = match rest.map(|_| UnderWay::enter(shared, &ask)) {
        Some(Err(reply)) => return Ok(reply),
        Some(Ok(under_way)) => Some(under_way),
        None => None,
    };
    match effect {
        None => {}
        Some(Effect::Answer(reply)) => {
            let date = shared.with(|state| state.clock.date());
            return Ok(reply.header("date", &date));
        }
        Some(Effect::Reset) => return Err(Cut),
        Some(Effect::Stall(time)) => {
            tokio::time::sleep(time).await;
            return Err(Cut);
        }
        Some(Effect::Latency(time)) => tokio::time::sleep(time).await,
        Some(Effect::LostAnswer) => {
            let _ = handle(shared, &ask).await;
            return Err(Cut);
        }
    }
    Ok(handle(shared, &ask).await)
}

/// A request to the REST API that has no answer yet.
struct UnderWay<'a> {
    shared: &'a Shared,
    credential: String,
}

impl<'a> UnderWay<'a> {
    fn enter(shared: &'a Shared, ask: &Ask) -> Result<Self, Reply> {
        let under_way = Self { shared, credential: limits::credential(ask) };
        match shared.with(|state| state.enter(&under_way.credential)) {
            Some(reply) => Err(reply),
            None => Ok(under_way),
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.shared.with(|state| state.leave(&self.credential));
    }
}

async fn handle(shared: &Shared, ask: &Ask) -> Reply {
    if let Some(path) = ask.path.strip_prefix(rest::PREFIX) {
        return rest::answer(shared, ask, path);
    }
    if let Some(path) = ask.path.strip_prefix(scaleset::PREFIX) {
        return scaleset::answer(shared, ask, path).await;
    }
    if let Some(path) = ask.path.strip_prefix(runner::PREFIX) {
        return runner::answer(shared, ask, path).await;
    }
    Reply::error(404, "Not Found")
}
