//! A delivery as a form: `payload=` and the JSON, as a hook with the content type `application/x-www-form-urlencoded` sends it.

use std::borrow::Cow;

/// The JSON in a body: of a form its `payload`, otherwise the body itself. None when a form has no payload.
pub(super) fn payload<'a>(content_type: &str, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Some(Cow::Borrowed(body));
    }
    let (_, value) = url::form_urlencoded::parse(body).find(|(name, _)| name == "payload")?;
    Some(Cow::Owned(value.into_owned().into_bytes()))
}
