//! The query of an address.

use percent_encoding::percent_decode_str;

/// The first value of this name, decoded. Text that is no UTF-8 is no value.
pub(super) fn value(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| {
            let spaces = value.replace('+', " ");
            percent_decode_str(&spaces).decode_utf8().ok().map(std::borrow::Cow::into_owned)
        })?
    })
}
