//! `${{ }}`, as far as `run:` steps of tests need it: literals, dotted names of contexts, `!`, `==`, `!=`, `&&`, `||`,
//! parentheses, and the functions that tell how the job stands.

use serde_json::Value;

/// What an expression may see.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// Contexts by name: `github`, `env`, `secrets`, `vars`, `steps`, `needs`, `matrix`, `runner`, `job`.
    pub(crate) contexts: serde_json::Map<String, Value>,
    /// A step before failed.
    pub(crate) failed: bool,
    /// The job is being cancelled.
    pub(crate) cancelled: bool,
}

/// Puts values in the place of each `${{ … }}`.
pub(crate) fn filled(text: &str, scope: &Scope) -> Result<String, String> {
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${{") {
        let (inside, after) =
            after.split_once("}}").ok_or_else(|| format!("'${{{{' is never closed in '{text}'"))?;
        done += before;
        done += &shown(&value(inside, scope)?);
        rest = after;
    }
    Ok(done + rest)
}

/// Whether a step runs. Without a word of how the job stands, it runs only while all is well.
pub(crate) fn holds(condition: &Value, scope: &Scope) -> Result<bool, String> {
    let text = match condition {
        Value::Null => String::new(),
        other => shown(other),
    };
    let text = text.trim();
    let text = text.strip_prefix("${{").and_then(|inside| inside.strip_suffix("}}")).unwrap_or(text);
    let about_status =
        ["success()", "failure()", "always()", "cancelled()"].iter().any(|name| text.contains(name));
    let well = about_status || !(scope.failed || scope.cancelled);
    Ok(well && (text.trim().is_empty() || truth(&value(text, scope)?)))
}

fn value(text: &str, scope: &Scope) -> Result<Value, String> {
    let mut reader = Reader { text, rest: text, scope };
    let value = reader.either()?;
    if reader.next().is_empty() { Ok(value) } else { Err(reader.wrong()) }
}

/// How a value stands in a text.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    scope: &'a Scope,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn wrong(&self) -> String {
        format!("'{}' is an expression that this runner does not know, at '{}'", self.text.trim(), self.rest)
    }

    fn eats(&mut self, token: &str) -> bool {
        let after = self.next().strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn either(&mut self) -> Result<Value, String> {
        let mut left = self.both()?;
        while self.eats("||") {
            let right = self.both()?;
            left = if truth(&left) { left } else { right };
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Value, String> {
        let mut left = self.compared()?;
        while self.eats("&&") {
            let right = self.compared()?;
            left = if truth(&left) { right } else { left };
        }
        Ok(left)
    }

    fn compared(&mut self) -> Result<Value, String> {
        let left = self.single()?;
        // Texts are equal whatever their case.
        let same = |left: &Value, right: &Value| shown(left).eq_ignore_ascii_case(&shown(right));
        if self.eats("==") {
            return Ok(same(&left, &self.single()?).into());
        }
        if self.eats("!=") {
            return Ok((!same(&left, &self.single()?)).into());
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<Value, String> {
        if !self.next().starts_with("!=") && self.eats("!") {
            return Ok((!truth(&self.single()?)).into());
        }
        if self.eats("(") {
            let inside = self.either()?;
            return if self.eats(")") { Ok(inside) } else { Err(self.wrong()) };
        }
        if self.eats("'") {
            return self.quoted();
        }
        let end = self
            .next()
            .find(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(self.wrong());
        }
        self.rest = rest;
        if self.eats("()") {
            return match word {
                "always" => Ok(true.into()),
                "success" => Ok((!self.scope.failed && !self.scope.cancelled).into()),
                "failure" => Ok((self.scope.failed && !self.scope.cancelled).into()),
                "cancelled" => Ok(self.scope.cancelled.into()),
                _ => Err(self.wrong()),
            };
        }
        match word {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            "null" => Ok(Value::Null),
            _ if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                serde_json::from_str(word).map_err(|_| self.wrong())
            }
            _ => self.named(word),
        }
    }

    fn quoted(&mut self) -> Result<Value, String> {
        let mut text = String::new();
        loop {
            let (before, after) = self.rest.split_once('\'').ok_or_else(|| self.wrong())?;
            text += before;
            self.rest = after;
            // Two are one that is meant.
            let Some(after) = after.strip_prefix('\'') else { return Ok(text.into()) };
            text.push('\'');
            self.rest = after;
        }
    }

    /// A name that nothing has is empty; a context that nobody has is a mistake.
    fn named(&self, path: &str) -> Result<Value, String> {
        let mut names = path.split('.');
        let first = names.next().unwrap_or_default();
        let first = if ["gitea", "forgejo"].contains(&first) { "github" } else { first };
        let mut value = self.scope.contexts.get(first).ok_or_else(|| self.wrong())?;
        for name in names {
            value = value.get(name).unwrap_or(&Value::Null);
        }
        Ok(value.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope(failed: bool) -> Scope {
        let contexts = json!({
            "github": {"sha": "abc", "event": {"n": 3}},
            "matrix": {"n": 1},
            "secrets": {"KEY": "s"},
        });
        Scope { contexts: contexts.as_object().unwrap().clone(), failed, cancelled: false }
    }

    #[test]
    fn values_are_put_in() {
        let filled = |text| filled(text, &scope(false));
        assert_eq!(filled("a ${{ github.sha }}-${{matrix.n}} b"), Ok("a abc-1 b".into()));
        assert_eq!(filled("${{ gitea.event.n == 3 && 'it''s' || 'no' }}"), Ok("it's".into()));
        assert_eq!(filled("${{ github.nothing.at.all }}"), Ok(String::new()));
        assert_eq!(filled("${{ !(github.sha != 'ABC') }}"), Ok("true".into()));
        for wrong in ["${{ github.sha", "${{ nobody.x }}", "${{ hashFiles('a') }}", "${{ 'a }}", "${{ 1 2 }}"]
        {
            assert!(filled(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn conditions_look_at_how_the_job_stands() {
        let holds = |text: &str, failed| holds(&text.into(), &scope(failed)).unwrap();
        assert!(holds("", false) && !holds("", true));
        assert!(holds("always()", true) && holds("${{ failure() }}", true) && !holds("failure()", false));
        assert!(!holds("true", true) && holds("matrix.n == 1", false) && !holds("matrix.n == 2", false));
        assert!(
            super::holds(&json!(true), &scope(false)).unwrap()
                && !super::holds(&json!(false), &scope(false)).unwrap()
        );
        assert!(super::holds(&Value::Null, &scope(false)).unwrap());
    }
}
