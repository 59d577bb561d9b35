//! The way of a request: counted, perhaps met by a fault, answered, held to the description.

use std::sync::Arc;

use crate::http::{Ask, Cut, Faults, Reply, Shared, Site, deliver, meet};

use super::state::State;
use super::{limits, rest, runner, scaleset};

impl Site for State {
    fn version(&self) -> u64 {
        self.version
    }

    fn settle(&mut self) {
        self.go_on();
    }

    fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    async fn answer(shared: Arc<Shared<Self>>, ask: Ask) -> Result<Reply, Cut> {
        answer(&shared, &ask).await
    }

    fn work(shared: Arc<Shared<Self>>) -> impl Future<Output = ()> + Send {
        deliver(shared)
    }
}

async fn answer(shared: &Shared<State>, ask: &Ask) -> Result<Reply, Cut> {
    let rest = ask.path.strip_prefix(rest::PREFIX);
    let effect = shared.with(|state| {
        let path = rest.unwrap_or(&ask.path);
        state.calls.count(&ask.method, path);
        state.touch();
        state.faults.meet(&ask.method, path)
    });
    let _under_way = match rest.map(|_| UnderWay::enter(shared, ask)) {
        Some(Err(reply)) => return Ok(reply),
        Some(Ok(under_way)) => Some(under_way),
        None => None,
    };
    if let Some(reply) = effect.as_ref().and_then(|effect| effect.answer(Reply::error)) {
        let date = shared.with(|state| state.clock.date());
        return Ok(reply.header("date", &date));
    }
    meet(effect, handle(shared, ask)).await
}

/// A request to the REST API that has no answer yet.
struct UnderWay<'a> {
    shared: &'a Shared<State>,
    credential: String,
}

impl<'a> UnderWay<'a> {
    fn enter(shared: &'a Shared<State>, ask: &Ask) -> Result<Self, Reply> {
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

async fn handle(shared: &Shared<State>, ask: &Ask) -> Reply {
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
