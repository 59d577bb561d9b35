//! Whether an answer is what was recorded: the same fields, nulls, types, order and values. What a server makes up (ids
//! of runners for the wire, tokens, handles, commits, times) may differ, and then always in the same way.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Placeholders that stand for another value each time.
const FRESH: [&str; 3] = ["<TASK_TOKEN>", "<TASK_GITEA_RUNTIME_TOKEN>", "<TOKEN>"];

/// What is called what here that was called something else there.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Beginnings of URLs.
    hosts: Vec<(String, String)>,
    known: BTreeMap<String, String>,
    /// Those of [`FRESH`], as seen last.
    fresh: BTreeMap<String, String>,
    /// Versions of the queue count differently.
    pub(crate) any_version: bool,
    /// So many of the objects around this one were cut in the recording, and those in them as well.
    cut: usize,
}

impl Names {
    pub(crate) fn host(&mut self, there: &str, here: &str) {
        self.hosts.push((there.to_owned(), here.to_owned()));
    }

    /// Must not be known as anything else.
    pub(crate) fn bind(&mut self, there: &str, here: &str) {
        let before = self.known.insert(there.to_owned(), here.to_owned());
        assert!(before.is_none_or(|before| before == here), "{there} is known as something else");
    }

    /// What is sent here, for what was sent there.
    pub(crate) fn translate(&self, there: &str) -> String {
        let mut text = there.to_owned();
        let hosts = self.hosts.iter().map(|(there, here)| (there, here));
        for (there, here) in hosts.chain(&self.known) {
            text = text.replace(there.as_str(), here);
        }
        text
    }

    pub(crate) fn translate_all(&self, there: &Value) -> Value {
        match there {
            Value::String(text) => self.translate(text).into(),
            Value::Array(all) => all.iter().map(|one| self.translate_all(one)).collect(),
            Value::Object(all) => {
                all.iter().map(|(name, one)| (name.clone(), self.translate_all(one))).collect()
            }
            other => other.clone(),
        }
    }

    /// A new answer: what is fresh may be anything once, but not what it was in the last one.
    pub(crate) fn next(&mut self) {
        for name in FRESH {
            if let Some(last) = self.known.remove(name) {
                self.fresh.insert(name.to_owned(), last);
            }
        }
    }

    /// Says what is not alike, by where it is.
    pub(crate) fn differences(&mut self, there: &Value, here: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.compare("", there, here, &mut found);
        found
    }

    fn compare(&mut self, at: &str, there: &Value, here: &Value, found: &mut Vec<String>) {
        let mut differ = |why: &str| found.push(format!("{at}: {why}: recorded {there}, got {here}"));
        match (there, here) {
            (Value::Object(all), Value::Object(_)) if all.keys().any(|name| name.starts_with("(cut: ")) => {
                let names = all.values().next().and_then(Value::as_array).expect("the names of fields");
                let mut given: Vec<&str> = here.as_object().unwrap().keys().map(String::as_str).collect();
                given.sort_unstable();
                if *names != given {
                    differ("other fields");
                }
            }
            (Value::Object(there), Value::Object(here)) => self.compare_fields(at, there, here, found),
            (Value::Array(all), Value::Array(others)) => {
                if all.len() != others.len() {
                    differ("another number");
                }
                for (n, (there, here)) in all.iter().zip(others).enumerate() {
                    self.compare(&format!("{at}[{n}]"), there, here, found);
                }
            }
            // Cut away in the recording.
            (Value::String(text), Value::Object(_)) if text == "(cut)" => {}
            (Value::String(text), Value::String(other)) => {
                if let Err(why) = self.alike(at, text, other) {
                    differ(&why);
                }
            }
            // How long a run took, in nanoseconds.
            (Value::Number(_), Value::Number(took)) if at.ends_with(".duration") => {
                if took.as_u64().is_none_or(|took| took == 0 || took % 1_000_000_000 != 0) {
                    differ("no whole seconds");
                }
            }
            (there, here) if there == here => {}
            _ => differ("something else"),
        }
    }

    fn compare_fields(
        &mut self,
        at: &str,
        there: &Map<String, Value>,
        here: &Map<String, Value>,
        found: &mut Vec<String>,
    ) {
        let cut = there.get("(cut)");
        self.cut += usize::from(cut.is_some());
        for (name, value) in there.iter().filter(|(name, _)| *name != "(cut)") {
            let plain = name.strip_suffix("(base64-decoded)");
            let field = plain.unwrap_or(name);
            let at = format!("{at}.{field}");
            let Some(given) = here.get(field) else {
                found.push(format!("{at}: absent: recorded {value}"));
                continue;
            };
            if plain.is_none() {
                self.compare(&at, value, given, found);
                continue;
            }
            let bytes = given.as_str().and_then(|text| STANDARD.decode(text).ok());
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
            self.compare(&at, value, &text.into(), found);
        }
        let is_known =
            |name: &str| there.contains_key(name) || there.contains_key(&format!("{name}(base64-decoded)"));
        self.cut -= usize::from(cut.is_some());
        match cut {
            None if self.cut > 0 => {}
            None => {
                for (name, value) in here.iter().filter(|(name, _)| !is_known(name)) {
                    found.push(format!("{at}.{name}: not recorded: got {value}"));
                }
            }
            Some(cut) => {
                let count = cut.as_str().and_then(|text| text.split_once(" keys")?.0.parse::<usize>().ok());
                // What else a repository of Forgejo has is not in any recording.
                if count.is_some_and(|count| count != here.len() && count != 64) {
                    found.push(format!("{at}: recorded {cut}, got {}", here.len()));
                }
            }
        }
    }

    fn alike(&mut self, at: &str, there: &str, here: &str) -> Result<(), String> {
        if at.ends_with(".tasksVersion") && self.any_version {
            return here.parse::<u64>().map(|_| ()).map_err(|_| "no number".into());
        }
        if there.starts_with('<') && there.ends_with('>') && !there.contains(' ') {
            if self.fresh.get(there).is_some_and(|last| last == here) {
                return Err("the same as last time".into());
            }
            return self.same(there, here);
        }
        if is_hex(there, 40) && is_hex(here, 40) {
            let known = self.known.entry(there.to_owned()).or_insert(here.to_owned());
            return if known == here { Ok(()) } else { Err("another commit".into()) };
        }
        if is_uuid(there) && is_uuid(here) {
            return self.same(there, here);
        }
        if let Some(begin) = there.strip_suffix("…(cut)") {
            let field = begin.split(':').next().unwrap_or_default();
            return if here.starts_with('{') && field.starts_with("{\"") {
                Ok(())
            } else {
                Err("no JSON".into())
            };
        }
        if is_time(there) {
            // What is not set is the same everywhere.
            let is_set = |text: &str| !text.starts_with("1970-") && !text.starts_with("0001-");
            return match (is_set(there), is_time(here) && is_set(here)) {
                (true, true) => Ok(()),
                (false, _) if there == here => Ok(()),
                _ => Err("another kind of time".into()),
            };
        }
        let (mut there, mut here) = (self.translate(there), here.to_owned());
        for text in [&mut there, &mut here] {
            // Where in the body, and the number of a picture.
            cut_after(text, "(line 1:", ")");
            cut_after(text, "/avatars/", "\0");
        }
        if there == here { Ok(()) } else { Err("another text".into()) }
    }

    /// Always the same here for what was the same there, and only for that.
    fn same(&mut self, there: &str, here: &str) -> Result<(), String> {
        if let Some(known) = self.known.get(there) {
            return if known == here { Ok(()) } else { Err(format!("not {known}")) };
        }
        if self.known.iter().any(|(name, known)| known == here && is_uuid(name) == is_uuid(there)) {
            return Err("known as something else".into());
        }
        if here.is_empty() {
            return Err("empty".into());
        }
        self.known.insert(there.to_owned(), here.to_owned());
        Ok(())
    }
}

fn cut_after(text: &mut String, begin: &str, end: &str) {
    if let Some(at) = text.find(begin).map(|at| at + begin.len()) {
        let until = text[at..].find(end).map_or(text.len(), |length| at + length);
        text.replace_range(at..until, "");
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| is_hex(part, length))
}

/// A time in the one form that both forges write.
fn is_time(text: &str) -> bool {
    text.len() == "1970-01-01T00:00:00Z".len()
        && text.ends_with('Z')
        && (text.parse::<Timestamp>().is_ok() || text.starts_with("0001-"))
}

#[test]
fn a_field_renamed_a_null_made_absent_and_an_order_changed_are_seen() {
    use serde_json::json;
    let recorded =
        json!({"jobs": [{"id": 1, "needs": null, "at": "2026-11-29T00:55:14Z"}, {"id": 2}], "n": "a"});
    let differs = |here: Value| Names::default().differences(&recorded, &here).len();
    assert_eq!(differs(recorded.clone()), 0);
    let job = |needs: Value| json!({"id": 1, "needs": needs, "at": "2027-01-01T00:00:00Z"});
    assert_eq!(differs(json!({"jobs": [job(Value::Null), {"id": 2}], "n": "a"})), 0);
    assert_eq!(differs(json!({"jobs": [job(json!([])), {"id": 2}], "n": "a"})), 1);
    assert_eq!(differs(json!({"jobs": [{"id": 2}, job(Value::Null)], "n": "a"})), 6);
    assert_eq!(differs(json!({"tasks": [job(Value::Null), {"id": 2}], "n": "a"})), 2);
    assert_eq!(differs(json!({"jobs": [job(Value::Null), {"id": "2"}], "n": "a", "more": null})), 2);
    assert_eq!(differs(json!({"jobs": [{"id": 1, "at": "1970-01-01T00:00:00Z"}, {"id": 2}], "n": "b"})), 3);
    assert_eq!(differs(Value::Null), 1);
}

#[test]
fn names_stay_what_they_are() {
    use serde_json::json;
    let mut names = Names::default();
    let (a, b) = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222");
    let (x, y) = ("33333333-3333-3333-3333-333333333333", "44444444-4444-4444-4444-444444444444");
    assert!(names.differences(&json!([a, b, a]), &json!([x, y, x])).is_empty());
    assert_eq!(names.differences(&json!([a]), &json!([y])).len(), 1);
    assert_eq!(names.differences(&json!(["55555555-5555-5555-5555-555555555555"]), &json!([y])).len(), 1);
    assert_eq!(names.translate(&format!("/runners/{b}")), format!("/runners/{y}"));
    assert!(names.differences(&json!("<TASK_TOKEN>"), &json!("secret")).is_empty());
    names.next();
    assert_eq!(names.differences(&json!("<TASK_TOKEN>"), &json!("secret")).len(), 1);
}
