//! What is wrong with a value, and which value is to blame.

use std::fmt;
use std::ops::Range;

use serde::de;

use crate::problem::Problem;
use crate::suggest;
use crate::tree::Node;

/// The key that names a section's kind.
pub(super) const KIND: &str = "kind";

/// Where in the tree the reader is, as a chain on the stack.
pub(super) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Path::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// What serde complained about, and about which value.
#[derive(Debug)]
pub(super) struct ReadError {
    pub(super) what: What,
    pub(super) span: Option<Range<usize>>,
    pub(super) path: Option<String>,
    /// The value to leave out in the next round.
    pub(super) blamed: Option<u32>,
}

#[derive(Debug)]
pub(super) enum What {
    Unknown {
        field: String,
        known: &'static [&'static str],
    },
    Variant {
        variant: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
    /// A section that is to name its kind does not.
    Kindless {
        kinds: String,
    },
    /// A required value is missing because an earlier round left it out: told already.
    Consequence,
    Mismatch {
        expected: String,
    },
    Duplicate(String),
    Other(String),
}

impl ReadError {
    pub(super) const fn new(what: What) -> Self {
        Self { what, span: None, path: None, blamed: None }
    }

    /// Fills in what is not known yet: the innermost place that an error passes is the right one.
    pub(super) fn at(mut self, span: &Range<usize>, path: &Path<'_>) -> Self {
        if self.span.is_none() {
            self.span = Some(span.clone());
            self.path = Some(path.to_string());
        }
        self
    }

    pub(super) fn blame(mut self, id: u32) -> Self {
        self.blamed.get_or_insert(id);
        self
    }

    pub(super) fn into_problem(self, root: &Node) -> Option<Problem> {
        let span = self.span.unwrap_or_else(|| root.span.clone());
        let path = self.path.unwrap_or_default();
        let place = |path: &str| if path.is_empty() { String::new() } else { format!(" in {path}") };
        let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        Some(match self.what {
            What::Consequence => return None,
            What::Unknown { field, known } => {
                let field = short(&field);
                let help = suggest::for_name(&field, known, "the keys here are");
                Problem::new(span, format!("unknown key '{field}'{}", place(parent)))
                    .help(help)
                    .without_rest()
            }
            What::Variant { variant, known } => {
                let help = suggest::for_name(&variant, known, "the values are");
                Problem::new(span, format!("'{}' is not a valid value of {path}", short(&variant))).help(help)
            }
            What::Missing(field) => Problem::new(span, format!("key '{field}' is missing{}", place(&path)))
                .help(format!("add '{field}: …' here")),
            What::Kindless { kinds } => {
                Problem::new(span, format!("key '{KIND}' is missing{}", place(&path)))
                    .help(format!("add '{KIND}: …' here, one of {kinds}"))
            }
            What::Duplicate(field) => {
                Problem::new(span, format!("key '{field}' is given twice{}", place(parent)))
                    .help("keep one of the two")
            }
            What::Mismatch { expected } if path.is_empty() => {
                Problem::new(span, format!("the file must be {expected}"))
            }
            What::Mismatch { expected } => {
                let problem = Problem::new(span, format!("{path} must be {expected}"));
                // What YAML takes for something else: a version, a number as a name, yes and no.
                let scalar = ["a whole number", "a number with a fraction", "true or false"];
                match expected.strip_prefix("text, not ") {
                    Some(found) if scalar.contains(&found) => problem.help("put it in quotes"),
                    _ => problem,
                }
            }
            What::Other(message) => Problem::new(span, format!("{path}: {}", plain_message(&message))),
        })
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Other(message.to_string()))
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(What::Mismatch { expected: plain(&expected.to_string()) })
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(What::Mismatch { expected: plain(&expected.to_string()) })
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::Unknown { field: field.to_owned(), known })
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::Variant { variant: variant.to_owned(), known })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(What::Missing(field))
    }
}

/// A name out of the file, as far as a message needs it.
pub(super) fn short(name: &str) -> String {
    const MAX: usize = 40;
    let mut text: String = name.chars().take(MAX).collect();
    if name.chars().nth(MAX).is_some() {
        text.push('…');
    }
    text
}

/// The standard library's terse words, with what to write instead.
fn plain_message(message: &str) -> &str {
    match message {
        "invalid IPv4 address syntax" => "this is not an IPv4 address: write one such as 192.0.2.1",
        "invalid IP address syntax" => "this is not an IPv4 network: write one such as 10.0.0.0/8",
        other => other,
    }
}

/// serde's words for types, as people say them.
pub(super) fn plain(expected: &str) -> String {
    match expected {
        "a string" => "text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a section with keys".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" => "a whole number, 0 or more".to_owned(),
        "f64" => "a number".to_owned(),
        other if other.starts_with("struct ") => "a section with keys".to_owned(),
        other if other.starts_with("IPv4 network") || other.contains("Ipv4Net") => {
            "an IPv4 network such as 10.0.0.0/8".to_owned()
        }
        "IPv4 address" => "an IPv4 address such as 192.0.2.1".to_owned(),
        other => other.to_owned(),
    }
}
