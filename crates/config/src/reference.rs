//! The schema, and the reference page made from it.

use std::fmt::Write as _;
use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::Config;
use crate::ranges::resolve;

/// The file's JSON schema, for editors.
pub fn json_schema() -> Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| schemars::schema_for!(Config).to_value()).clone()
}

/// `docs/reference/config.md`, made from the doc comments of the types.
pub fn reference_page() -> String {
    let mut page = String::new();
    let _ = writeln!(page, "TODO");
    let _ = resolve(&json_schema(), &json_schema());
    page
}
