//! What is known, what of it is looked at, and what keys do.

use std::collections::HashMap;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use fireactions_api::{LiveSnapshot, MachineUsage};
use fireactions_model::MachineId;
use jiff::Timestamp;

use super::feed::News;
use super::rows::{Row, Tab};

/// Longest text that is looked for.
const FILTER: usize = 200;

/// The state of the program.
pub(super) struct Screen {
    /// Where the server is, in safe text.
    pub(super) target: String,
    pub(super) colours: bool,
    pub(super) known: Option<LiveSnapshot>,
    pub(super) usage: HashMap<MachineId, MachineUsage>,
    /// When the server was last heard.
    pub(super) heard: Option<Timestamp>,
    /// Why it is not heard any more.
    pub(super) lost: Option<String>,
    pub(super) tab: Tab,
    /// What is chosen in each table, by its id, so that it stays chosen when rows come and go.
    chosen: [Option<String>; 3],
    /// Where it was, for when it is gone.
    at: [usize; 3],
    pub(super) filter: String,
    /// Keys go into the filter.
    pub(super) typing: bool,
    /// All of what is chosen is shown.
    pub(super) opened: bool,
}

impl Screen {
    pub(super) fn new(target: String, colours: bool) -> Self {
        Self {
            target,
            colours,
            known: None,
            usage: HashMap::new(),
            heard: None,
            lost: None,
            tab: Tab::Pools,
            chosen: Default::default(),
            at: Default::default(),
            filter: String::new(),
            typing: false,
            opened: false,
        }
    }

    /// Takes what the server says.
    pub(super) fn hear(&mut self, news: News, now: Timestamp) {
        match news {
            News::Snapshot(snapshot) => self.known = Some(*snapshot),
            News::Delta(delta) => {
                // What does not follow was seen by the feed, which asks for everything anew.
                let _ = self.known.as_mut().map(|known| known.apply(*delta));
            }
            News::Same => {}
            News::Usage(all) => {
                self.usage = all.into_iter().map(|usage| (usage.machine.clone(), usage)).collect();
                return;
            }
            News::Lost(why) => {
                self.lost = Some(why);
                return;
            }
        }
        (self.heard, self.lost) = (Some(now), None);
    }

    /// What the table shows now, and which of it is chosen.
    pub(super) fn rows(&self, now: Timestamp) -> (Vec<Row>, Option<usize>) {
        let Some(known) = &self.known else { return (Vec::new(), None) };
        let words: Vec<String> = self.filter.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let mut rows = self.tab.rows(known, &self.usage, now);
        rows.retain(|row| {
            let text = row.cells.join(" ").to_lowercase();
            words.iter().all(|word| text.contains(word))
        });
        let tab = self.tab as usize;
        let chosen = self.chosen[tab].as_ref().and_then(|id| rows.iter().position(|row| row.id == *id));
        let chosen = chosen.unwrap_or(self.at[tab]).min(rows.len().saturating_sub(1));
        let chosen = (!rows.is_empty()).then_some(chosen);
        (rows, chosen)
    }

    /// Takes a key; true to leave.
    pub(super) fn key(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return matches!(key.code, KeyCode::Char('c'));
        }
        if self.typing {
            self.typed(key.code);
            return false;
        }
        match key.code {
            KeyCode::Char('q') => return true,
            KeyCode::Char('j') | KeyCode::Down => self.go(1),
            KeyCode::Char('k') | KeyCode::Up => self.go(-1),
            KeyCode::PageDown => self.go(10),
            KeyCode::PageUp => self.go(-10),
            KeyCode::Home => self.go(isize::MIN),
            KeyCode::End => self.go(isize::MAX),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Tab::ALL.len() - 1),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Enter => {
                // What is opened stays so, whatever comes before it.
                self.go(0);
                self.opened = !self.opened;
            }
            KeyCode::Esc if self.opened => self.opened = false,
            KeyCode::Esc => self.filter.clear(),
            _ => {}
        }
        false
    }

    fn typed(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => (self.typing, self.filter) = (false, String::new()),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.len() < FILTER => self.filter.push(c),
            _ => {}
        }
    }

    /// Chooses another row.
    fn go(&mut self, by: isize) {
        let (rows, chosen) = self.rows(Timestamp::now());
        let Some(chosen) = chosen else { return };
        let next = chosen.saturating_add_signed(by).min(rows.len() - 1);
        let tab = self.tab as usize;
        (self.at[tab], self.chosen[tab]) = (next, Some(rows[next].id.clone()));
    }

    fn turn(&mut self, by: usize) {
        self.tab = Tab::ALL[(self.tab as usize + by) % Tab::ALL.len()];
        self.opened = false;
    }
}
