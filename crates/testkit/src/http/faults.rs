//! Faults by script: the next so many requests that fit meet one.

use std::time::{Duration, Instant};

use super::message::{Cut, Reply};

/// What happens to requests that fit, made with [`Fault::on`] and given to the fake's `fault`.
#[derive(Debug, Clone)]
pub struct Fault {
    method: String,
    path: String,
    skip: u32,
    times: u32,
    effect: Effect,
}

#[derive(Debug, Clone)]
pub(crate) enum Effect {
    Answer(Reply),
    /// A status, in the forge's form of an error.
    Status(u16, String),
    Reset,
    Stall(Duration),
    Latency(Duration),
    LostAnswer,
}

impl Fault {
    /// For requests with this method (`*` is any) and path: `*` stands for one part of it, `**` at its end for all that
    /// follow. The fake's own page says what its paths are. Until told otherwise: once, a 500.
    pub fn on(method: &str, path: &str) -> Self {
        let effect = Effect::Status(500, "Server Error".into());
        Self { method: method.into(), path: path.into(), skip: 0, times: 1, effect }
    }

    /// For the next so many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Not for the first so many.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// They get this answer, whatever it is.
    #[must_use]
    pub fn answer(mut self, status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut reply = Reply::text(status, body);
        if body.starts_with(['{', '[']) {
            reply.headers[0].1 = "application/json".into();
        }
        reply.headers.extend(headers.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        self.effect = Effect::Answer(reply);
        self
    }

    /// They get this status and message in the forge's form of an error.
    #[must_use]
    pub fn status(mut self, status: u16, message: &str) -> Self {
        self.effect = Effect::Status(status, message.into());
        self
    }

    /// They get this answer.
    #[must_use]
    pub(crate) fn reply(mut self, reply: Reply) -> Self {
        self.effect = Effect::Answer(reply);
        self
    }

    /// Their connection is reset before they are handled.
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.effect = Effect::Reset;
        self
    }

    /// They are handled, and the connection is reset instead of the answer: the client cannot know.
    #[must_use]
    pub fn lost_answer(mut self) -> Self {
        self.effect = Effect::LostAnswer;
        self
    }

    /// They get no answer for so long, and then a reset.
    #[must_use]
    pub fn stall(mut self, time: Duration) -> Self {
        self.effect = Effect::Stall(time);
        self
    }

    /// They are handled so much later.
    #[must_use]
    pub fn latency(mut self, time: Duration) -> Self {
        self.effect = Effect::Latency(time);
        self
    }

    /// Whether it is for such requests.
    pub(crate) fn fits(&self, method: &str, path: &str) -> bool {
        if self.method != "*" && !self.method.eq_ignore_ascii_case(method) {
            return false;
        }
        let (mut wanted, mut given) = (self.path.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (Some("**"), _) | (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return false,
            }
        }
    }
}

impl Effect {
    /// The answer, where the effect is one; `refusal` has the forge's form of an error.
    pub(crate) fn answer(&self, refusal: impl FnOnce(u16, &str) -> Reply) -> Option<Reply> {
        match self {
            Self::Answer(reply) => Some(reply.clone()),
            Self::Status(status, message) => Some(refusal(*status, message)),
            _ => None,
        }
    }
}

/// What becomes of a request that meets an effect that is not an answer; `handled` handles it.
pub(crate) async fn meet(effect: Option<Effect>, handled: impl Future<Output = Reply>) -> Result<Reply, Cut> {
    match effect {
        None | Some(Effect::Answer(_) | Effect::Status(..)) => Ok(handled.await),
        Some(Effect::Reset) => Err(Cut),
        Some(Effect::Stall(time)) => {
            tokio::time::sleep(time).await;
            Err(Cut)
        }
        Some(Effect::Latency(time)) => {
            tokio::time::sleep(time).await;
            Ok(handled.await)
        }
        Some(Effect::LostAnswer) => {
            let _ = handled.await;
            Err(Cut)
        }
    }
}

/// The faults that are still to happen.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    scripted: Vec<Fault>,
    down_until: Option<Instant>,
    /// How often it went down: a connection that was not looked after in time breaks all the same.
    downs: u64,
}

impl Faults {
    pub(crate) fn is_down(&self) -> bool {
        self.down_until.is_some_and(|until| Instant::now() < until)
    }

    pub(crate) const fn downs(&self) -> u64 {
        self.downs
    }

    /// What a request meets; the oldest fault that fits is used up first.
    pub(crate) fn meet(&mut self, method: &str, path: &str) -> Option<Effect> {
        let at = self.scripted.iter().position(|fault| fault.fits(method, path))?;
        let fault = &mut self.scripted[at];
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times = fault.times.saturating_sub(1);
        let effect = fault.effect.clone();
        if fault.times == 0 {
            self.scripted.remove(at);
        }
        Some(effect)
    }

    pub(crate) fn script(&mut self, fault: Fault) {
        self.scripted.push(fault);
    }

    /// Requests still scripted to meet one.
    pub(crate) fn left(&self) -> u32 {
        self.scripted.iter().map(|fault| fault.times).sum()
    }

    /// For so long every connection ends in a reset: new ones, idle ones, and those with a request under way.
    pub(crate) fn down(&mut self, time: Duration) {
        self.down_until = Some(Instant::now() + time);
        self.downs += 1;
    }
}
