//! The screen.

use fireactions_api::{ForgeLimits, LiveSnapshot};
use fireactions_model::{RateLimit, Share};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row as TableRow, Table, TableState, Tabs, Wrap};

use super::rows::{Row, Tab, Tone, age, safe};
use super::screen::Screen;
use crate::cli::show;

/// From here on a part of something is nearly all of it, in percent.
const NEARLY: u64 = 90;
/// Most limits of forges that are shown: what there is to see is below them.
const LIMITS: usize = 8;
/// Cells of a bar.
const BAR: u64 = 10;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen, now: Timestamp) {
    let head = head(screen, now, usize::from(frame.area().width));
    let height = u16::try_from(head.len()).unwrap_or(u16::MAX);
    let [top, tabs, body, foot] = Layout::vertical([
        Constraint::Length(height),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head), top);
    if let Some(known) = &screen.known {
        let titles = Tab::ALL.map(|tab| tab.title(known));
        let chosen = Style::new().add_modifier(Modifier::REVERSED);
        frame.render_widget(Tabs::new(titles).select(screen.tab as usize).highlight_style(chosen), tabs);
        content(frame, screen, known, body, now);
    }
    frame.render_widget(Paragraph::new(foot_of(screen)), foot);
}

/// What is true of everything: the server, the host, the forges, and how old it all is.
fn head(screen: &Screen, now: Timestamp, width: usize) -> Vec<Line<'static>> {
    let strong = Style::new().add_modifier(Modifier::BOLD);
    let mut lines = Vec::new();
    if let Some(why) = &screen.lost {
        let since = screen.heard.map_or_else(String::new, |heard| {
            let clock = heard.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string();
            format!(" since {clock} ({})", age(heard, now))
        });
        let old = if screen.known.is_some() { "; what is shown is as it was then" } else { "" };
        let text = format!("Not connected{since}{old}: {}", safe(why));
        lines.push(Line::styled(text, tone(screen, Tone::Bad).add_modifier(Modifier::BOLD)));
    }
    let Some(known) = &screen.known else {
        lines.push(Line::raw(format!("Waiting for the server at {}", screen.target)));
        return lines;
    };
    let version = &known.version;
    lines.push(Line::from(vec![
        Span::styled(format!("fireactions {}", safe(&version.version)), strong),
        Span::raw(format!(
            " at {}, machines by {}, {}",
            screen.target,
            safe(&version.vmm),
            safe(&version.accel)
        )),
    ]));
    if let Some(drained) = &known.host.drained {
        lines.push(Line::styled(safe(&drained.to_string()), tone(screen, Tone::Aside)));
    }
    let budget = &known.host.budget;
    let mib = |count: u64| show::bytes(count << 20);
    let mut parts = vec![
        share("CPUs", budget.vcpus, |count| count.to_string()),
        share("Memory", budget.memory_mib, mib),
        share("Addresses", budget.slots, |count| count.to_string()),
    ];
    parts.extend(budget.disk_mib.map(|disk| share("Disk", disk, mib)));
    lines.extend(joined(screen, parts, width));
    let limits: Vec<_> = known.limits.iter().flat_map(|forge| limits(forge, now)).take(LIMITS).collect();
    lines.extend(joined(screen, limits, width));
    lines
}

/// Parts, as many on a line as have room there; those where hardly anything is left stand out.
fn joined(screen: &Screen, parts: Vec<(String, bool)>, width: usize) -> Vec<Line<'static>> {
    const GAP: &str = "   ";
    let mut lines: Vec<Line<'static>> = Vec::new();
    for (text, scarce) in parts {
        let style =
            if scarce { tone(screen, Tone::Waits).add_modifier(Modifier::BOLD) } else { Style::new() };
        let part = Span::styled(text, style);
        match lines.last_mut() {
            Some(line) if line.width() + GAP.len() + part.width() <= width => {
                line.push_span(Span::raw(GAP));
                line.push_span(part);
            }
            _ => lines.push(Line::from(part)),
        }
    }
    lines
}

fn share(name: &str, Share { used, of }: Share, say: impl Fn(u64) -> String) -> (String, bool) {
    let Some(of) = of else { return (format!("{name} {}", say(used)), false) };
    // A little is not nothing.
    let full = if of == 0 { BAR } else { used.saturating_mul(BAR).div_ceil(of) };
    let bar: String = (0..BAR).map(|cell| if cell < full { '|' } else { '.' }).collect();
    let scarce = used.saturating_mul(100) >= of.saturating_mul(NEARLY);
    (format!("{name} [{bar}] {} of {}", say(used), say(of)), scarce)
}

fn limits(forge: &ForgeLimits, now: Timestamp) -> Vec<(String, bool)> {
    let name = safe(forge.forge.as_str());
    forge.limits.iter().map(|limit| one_limit(&name, limit, now)).collect()
}

/// A window that has ended since is a new one, of which nothing is known.
fn one_limit(forge: &str, limit: &RateLimit, now: Timestamp) -> (String, bool) {
    let name = format!("{forge} {}", safe(&limit.resource));
    let until = |time: Timestamp| age(now, time);
    if let Some(blocked) = limit.blocked_until.filter(|time| *time > now) {
        return (format!("{name}: asks nothing for {}, as the forge wants it", until(blocked)), true);
    }
    match limit.reset_at {
        Some(reset) if reset <= now => (format!("{name}: {} requests, anew", limit.limit), false),
        reset => {
            let when = reset.map_or_else(String::new, |reset| format!(", anew in {}", until(reset)));
            let few = limit.remaining.saturating_mul(100) <= limit.limit.saturating_mul(100 - NEARLY);
            (format!("{name}: {} of {} requests left{when}", limit.remaining, limit.limit), few)
        }
    }
}

/// The table, or all of the row that is chosen.
fn content(frame: &mut Frame<'_>, screen: &Screen, known: &LiveSnapshot, area: Rect, now: Timestamp) {
    let (rows, chosen) = screen.rows(now);
    let detail = chosen.filter(|_| screen.opened).and_then(|at| rows.get(at));
    if let Some(text) = detail.and_then(|row| screen.tab.detail(known, &screen.usage, &row.id)) {
        let lines: Vec<Line<'static>> = text.lines().map(|line| Line::raw(safe(line))).collect();
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
        return;
    }
    if rows.is_empty() {
        let what = if screen.filter.is_empty() { "There is none." } else { "None is like that." };
        frame.render_widget(Paragraph::new(what), area);
        return;
    }
    let header = screen.tab.header();
    let widths = widths(header, &rows);
    let plain = |row: &Row| TableRow::new(row.cells.clone()).style(tone(screen, row.tone));
    let table = Table::new(rows.iter().map(plain), widths)
        .header(TableRow::new(header.to_vec()).style(Style::new().add_modifier(Modifier::BOLD)))
        .column_spacing(2)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(chosen);
    frame.render_stateful_widget(table, area, &mut state);
}

/// Each column as wide as it needs, up to a bound; the last takes what is left.
fn widths(header: &[&str], rows: &[Row]) -> Vec<Constraint> {
    const MOST: usize = 40;
    let last = header.len() - 1;
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row.cells[column].chars().count());
        cells.chain([header[column].len()]).max().unwrap_or_default().min(MOST)
    };
    (0..header.len())
        .map(|column| {
            if column == last {
                return Constraint::Fill(1);
            }
            Constraint::Length(u16::try_from(width(column)).unwrap_or(u16::MAX))
        })
        .collect()
}

fn foot_of(screen: &Screen) -> Line<'static> {
    if screen.typing {
        return Line::raw(format!("/{}_   Enter keeps it, Esc takes it back", safe(&screen.filter)));
    }
    let filter = if screen.filter.is_empty() {
        String::new()
    } else {
        format!("   only: {} (Esc: all)", safe(&screen.filter))
    };
    let open = if screen.opened { "Enter closes" } else { "Enter opens" };
    Line::raw(format!("q quits   j/k chooses   Tab turns   / filters   {open}{filter}"))
}

fn tone(screen: &Screen, tone: Tone) -> Style {
    if !screen.colours {
        return Style::new();
    }
    let colour = match tone {
        Tone::Plain => return Style::new(),
        Tone::Works => Color::Cyan,
        Tone::Waits => Color::Yellow,
        Tone::Bad => Color::Red,
        Tone::Aside => Color::Magenta,
    };
    Style::new().fg(colour)
}
