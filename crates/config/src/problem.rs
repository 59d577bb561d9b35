//! What is wrong with a file, and how it is shown.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Longest part of a line that is shown, in characters.
const MAX_SHOWN: usize = 120;

/// One problem, at a place of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    span: Range<usize>,
    message: String,
    help: Option<String>,
    /// The line ends, for the reader, where the marked part does.
    without_rest: bool,
}

impl Problem {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None, without_rest: false }
    }

    /// The first byte of its place.
    pub(crate) fn start(&self) -> usize {
        self.span.start
    }

    /// Hides what follows on the line: nobody knows whether it is a secret.
    pub(crate) fn without_rest(mut self) -> Self {
        self.without_rest = true;
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A mistake or a warning, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// Column in characters, from 1; 0 when the file as a whole is meant.
    pub column: usize,
    /// What is wrong. One line.
    pub message: String,
    /// What to do about it. One line.
    pub help: Option<String>,
    /// The line with secrets, controls and its far end taken out, and the place in it to underline.
    excerpt: Option<(String, Range<usize>)>,
}

impl Diagnostic {
    pub(crate) fn whole(file: &Path, message: &str, help: Option<&str>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: clean(message),
            help: help.map(str::to_owned),
            excerpt: None,
        }
    }

    pub(crate) fn new(file: &Path, text: &str, problem: &Problem) -> Self {
        let mut at = problem.span.start.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let full = text[start..].lines().next().unwrap_or("");
        let column = text[start..at].chars().count();
        let length = text
            .get(at..problem.span.end.min(text.len()))
            .map_or(1, |marked| marked.lines().next().unwrap_or("").trim_end().chars().count().max(1));
        let inside_secret = parents(&text[..start], full)
            .any(|line| hide_secret(&format!("{line} x")) != format!("{line} x"));
        let mut shown = if inside_secret { "…".to_owned() } else { hide_secret(full) };
        let marked: String = full.chars().take(column + length).collect();
        if problem.without_rest && shown.starts_with(&marked) && shown.len() > marked.len() {
            shown = format!("{marked}: …");
        }
        Self {
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: column + 1,
            message: clean(&problem.message),
            help: problem.help.as_deref().map(clean),
            excerpt: Some(excerpt(&shown, column..column + length)),
        }
    }
}

/// The lines above with the keys that this line belongs to, by indentation; the nearest first.
fn parents<'a>(before: &'a str, line: &str) -> impl Iterator<Item = &'a str> {
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let mut limit = indent(line);
    // A file has few levels, and the search ends at the first line without indentation.
    before.lines().rev().filter(move |line| {
        let nearer = !line.trim().is_empty() && indent(line) < limit;
        if nearer {
            limit = indent(line);
        }
        nearer
    })
}

/// Cuts a line around what is marked and takes out what must not be shown.
fn excerpt(shown: &str, marked: Range<usize>) -> (String, Range<usize>) {
    let length = shown.chars().count();
    let marked = marked.start.min(length)..marked.end.min(length.max(1)).max(marked.start.min(length) + 1);
    let first = if marked.start > MAX_SHOWN * 2 / 3 { marked.start - MAX_SHOWN / 3 } else { 0 };
    let part: String = shown.chars().skip(first).take(MAX_SHOWN).map(visible).collect();
    let start = marked.start - first;
    (part, start..(marked.end - first).clamp(start + 1, MAX_SHOWN.max(start + 1)))
}

/// Words in keys whose values may be secret.
const SECRETIVE: &[&str] = &["key", "token", "secret", "pass", "pwd", "auth", "credential", "pem", "proxy"];

/// What GitHub's tokens begin with, and keys.
const TOKENS: &[&str] = &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "-----BEGIN"];

/// Hides everything after a key that may hold a secret, and lines that look like a part of one.
fn hide_secret(line: &str) -> String {
    let body = line.trim();
    // A line that begins with a colon is the value of a key on a line above (`? key`).
    if body.starts_with("-----")
        || body.starts_with(':')
        || (body.len() >= 24 && !body.contains([' ', ':', '/']))
    {
        return "…".to_owned();
    }
    // A user and a password, in a URL or without its scheme, and tokens wherever they were put.
    let in_url = line.find("://").map(|at| at + 3).filter(|at| line[*at..].contains('@'));
    let loose = TOKENS.iter().filter_map(|token| line.find(token)).chain(in_url).chain(user(line)).min();
    match (after_secretive_key(line), loose) {
        (Some(value), loose) if loose.is_none_or(|at| value <= at) => format!("{} …", &line[..value]),
        (_, Some(at)) => format!("{}…", &line[..at]),
        (_, None) => line.to_owned(),
    }
}

/// Where the value of the first key begins that may hold a secret.
fn after_secretive_key(line: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(colon) = line[from..].find(':').map(|at| from + at) {
        let key =
            line[from..colon].rsplit([' ', ',', '{', '"', '\'']).find(|part| !part.is_empty()).unwrap_or("");
        let key = key.to_lowercase();
        // A key with escapes in it may be any key.
        let secretive =
            SECRETIVE.iter().any(|word| key.contains(word)) && !key.ends_with("_file") || key.contains('\\');
        let rest = &line[colon + 1..];
        // After a `_file` key, only what is a file's name is shown: people put the secret itself there.
        let named = rest.trim_start_matches([' ', '"', '\'']);
        let misplaced =
            key.ends_with("_file") && !named.starts_with('/') && !named.starts_with("credential:");
        if (secretive || misplaced) && !rest.trim().is_empty() {
            return Some(colon + 1);
        }
        from = colon + 1;
    }
    None
}

/// Where a word begins that has an `@` in it, as a user with a password at a host has. An image's digest is none.
fn user(line: &str) -> Option<usize> {
    let of_digest = |at: usize| line[at..].starts_with("@sha256:");
    let at = line.match_indices('@').map(|(at, _)| at).find(|at| !of_digest(*at))?;
    Some(line[..at].rfind([' ', '\t', '"', '\'', ',', '[', '{']).map_or(0, |before| before + 1))
}

/// A control character would move the caret, or the terminal.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() || is_invisible(c) => '\u{fffd}',
        c => c,
    }
}

/// Direction marks and the like, with which a text can look like another one.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A message of one line and bounded length, whatever the file brought into it.
fn clean(message: &str) -> String {
    const MAX: usize = 600;
    let mut text: String =
        message.chars().take(MAX).map(|c| if c == '\n' { ' ' } else { visible(c) }).collect();
    if message.chars().nth(MAX).is_some() {
        text.push('…');
    }
    text
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)?;
        if let Some((line, marked)) = &self.excerpt {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            let carets = "^".repeat(marked.len());
            write!(f, "\n{margin} |\n{number} | {line}\n{margin} | {}{carets}", " ".repeat(marked.start))?;
            if let Some(help) = &self.help {
                write!(f, "\n{margin} = help: {help}")?;
            }
        } else if let Some(help) = &self.help {
            write!(f, "\n  = help: {help}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a file, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// At least one.
    pub errors: Vec<Diagnostic>,
}

impl ConfigErrors {
    pub(crate) fn one(error: Diagnostic) -> Self {
        Self { errors: vec![error] }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for error in &self.errors {
            write!(text, "{error}\n\n")?;
        }
        match self.errors.len() {
            0 | 1 => f.write_str(text.trim_end()),
            count => write!(f, "{text}{count} problems in the configuration"),
        }
    }
}
