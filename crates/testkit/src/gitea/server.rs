//! The way of a request: noted, perhaps met by a fault, answered.

use std::sync::Arc;

use crate::http::{Ask, Cut, Faults, Reply, Shared, Site, deliver, meet};

use super::state::State;
use super::{reply, rest, rpc};

impl Site for State {
    fn version(&self) -> u64 {
        self.version
    }

    fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    async fn answer(shared: Arc<Shared<Self>>, ask: Ask) -> Result<Reply, Cut> {
        let (effect, path, redirect) = shared.with(|state| {
            let path = ask.path.strip_prefix(&state.prefix).map(ToOwned::to_owned);
            let noted = path.as_deref().unwrap_or(&ask.path);
            state.seen.note(&ask.method, noted, &ask.query);
            state.touch();
            let effect = state.faults.meet(&ask.method, noted);
            (effect, path.filter(|path| path.starts_with('/')), state.redirect.clone())
        });
        if let Some((status, base)) = redirect {
            return Ok(Reply::empty(status).header("location", &format!("{base}{}", ask.path)));
        }
        let refusal = |status, message: &str| match path.as_deref() {
            Some(path) if path.starts_with(rpc::PREFIX) => rpc::failed(status, message),
            _ => shared.with(|state| state.refusal(status, message)),
        };
        if let Some(reply) = effect.as_ref().and_then(|effect| effect.answer(refusal)) {
            return Ok(reply);
        }
        // What is not below the prefix is another site's.
        let Some(path) = path else { return Ok(reply::no_such_page()) };
        let handled = async { shared.with(|state| handle(state, &ask, &path)) };
        meet(effect, handled).await
    }

    fn work(shared: Arc<Shared<Self>>) -> impl Future<Output = ()> + Send {
        deliver(shared)
    }
}

fn handle(state: &mut State, ask: &Ask, path: &str) -> Reply {
    let reply = if let Some(path) = path.strip_prefix(rest::PREFIX) {
        rest::answer(state, ask, path)
    } else if let Some(path) = path.strip_prefix(rpc::PREFIX) {
        rpc::answer(state, ask, path)
    } else {
        reply::no_such_page()
    };
    reply.header("date", &state.clock.date())
}
