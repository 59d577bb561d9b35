//! `fireactions top`: the host, its pools, jobs and machines in a terminal, as they change.
//!
//! ```text
//! feed    follows the server's live view, and comes back when it breaks
//! screen  what is known, and what is looked at; keys change that
//! rows    what of it each table shows
//! draw    puts it on the terminal
//! ```

mod draw;
mod feed;
mod rows;
mod screen;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use crossterm::event::{Event, EventStream, KeyEventKind};
use fireactions_api::Client;
use futures::StreamExt;
use jiff::Timestamp;
use ratatui::DefaultTerminal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::edge::advise;
use super::{Ended, show};
use feed::News;
use screen::Screen;

/// News that wait to be shown; the server keeps what comes after, and sends everything anew.
const QUEUE: usize = 64;
/// Times on the screen are of whole seconds.
const TICK: Duration = Duration::from_secs(1);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(client: &Client, _: &Args) -> Ended {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(advise(
            "`top` draws on a terminal, and standard input or output is none",
            "use `fireactions ps --json`, or `GET /api/v1/live` for what changes (docs/api.md)",
        ));
    }
    // Here, so that who may not look, or has named the wrong server, is told as everywhere.
    let first = client.live().await?;
    let mut ends = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()]
        .map(signal)
        .into_iter()
        .collect::<io::Result<Vec<_>>>()?;
    let (sender, news) = mpsc::channel(QUEUE);
    let feeding = tokio::spawn(feed::follow(client.clone(), first, sender));
    let ended = {
        // Also where it is taken by half.
        let _back = Back;
        // A release that panics is ended at once, without this function's end: a hook gives the terminal back before.
        let mut terminal = ratatui::try_init().context("the terminal cannot be drawn on")?;
        let target = show::clean(&client.target().to_string());
        let mut screen = Screen::new(target, show::colour_on_stdout());
        tokio::select! {
            ended = watch(&mut terminal, &mut screen, news) => ended,
            _ = futures::future::select_all(ends.iter_mut().map(|end| Box::pin(end.recv()))) => Ok(()),
        }
    };
    feeding.abort();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Gives the terminal back.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Draws until somebody leaves.
async fn watch(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    mut news: mpsc::Receiver<News>,
) -> anyhow::Result<()> {
    let mut keys = EventStream::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| draw::draw(frame, screen, Timestamp::now()))?;
        tokio::select! {
            event = keys.next() => match event {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                    if screen.key(key) {
                        return Ok(());
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("the keyboard cannot be read"),
                None => return Ok(()),
            },
            told = news.recv() => {
                screen.hear(told.context("nobody follows the server any more")?, Timestamp::now());
                // What came together is drawn together.
                while let Ok(told) = news.try_recv() {
                    screen.hear(told, Timestamp::now());
                }
            }
            _ = tick.tick() => {}
        }
    }
}

#[cfg(test)]
mod tests;
