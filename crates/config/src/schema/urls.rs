//! URLs: where a forge is, and the proxy on the way.

use serde::Deserialize;
use serde::de::{self, Deserializer};
use url::Url;

/// What is read of a URL may have a password in it, so nothing of it is in a message.
pub(super) fn web_url<E: de::Error>(text: &str, help: &str) -> Result<Url, E> {
    let url = Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| E::custom(format_args!("this is not a URL: write {help}")))
}

pub(super) fn proxy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    web_url(&String::deserialize(deserializer)?, "http://HOST:PORT, such as http://proxy.example.com:3128")
        .map(Some)
}
