//! What real servers were asked and said. It is kept beside the descriptions of the APIs, and read there.

use std::collections::BTreeSet;

use fireactions_gitea::Kind;
use serde_json::Value;

/// A request and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// Where it was recorded.
    pub(crate) file: String,
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    /// Its names.
    pub(crate) query: BTreeSet<String>,
    pub(crate) request: Value,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) answer: Value,
}

pub(crate) fn names(query: &str) -> BTreeSet<String> {
    url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

/// All recordings of a server by their file's name; nothing, said loudly on behalf of `test`, where there are none.
pub(crate) fn files(test: &str, kind: Kind) -> Option<Vec<(String, Value)>> {
    let server = match kind {
        Kind::Gitea => "gitea-1.26.0",
        Kind::Forgejo => "forgejo-15.0.3",
    };
    fireactions_testkit::recordings::files(test, server)
}

/// All exchanges with a server's API.
pub(crate) fn exchanges(test: &str, kind: Kind) -> Option<Vec<Exchange>> {
    let mut all = Vec::new();
    for (file, recorded) in files(test, kind)? {
        let several = recorded["exchange"].as_array().cloned();
        for one in several.unwrap_or_else(|| vec![recorded]) {
            all.extend(read(&file, &one));
        }
    }
    assert!(all.len() > 50, "the recordings have {} exchanges", all.len());
    Some(all)
}

fn read(file: &str, one: &Value) -> Option<Exchange> {
    let (request, response) = (one.get("request")?, one.get("response")?);
    let path = request["path"].as_str().filter(|path| path.starts_with("/api/"))?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let headers = response["headers"].as_object().into_iter().flatten();
    Some(Exchange {
        file: file.to_owned(),
        method: request["method"].as_str()?.to_owned(),
        path: path.to_owned(),
        query: names(query),
        request: request["body"].clone(),
        status: u16::try_from(response["status"].as_u64()?).unwrap(),
        headers: headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
        answer: response["body"].clone(),
    })
}
