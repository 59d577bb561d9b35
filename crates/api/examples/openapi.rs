//! Writes `docs/reference/openapi.json`. Run by `make doc`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    let document = serde_json::to_string_pretty(&fireactions_api::server::openapi())?;
    std::fs::write(path, document + "\n")
}
