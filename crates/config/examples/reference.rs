//! Writes `docs/reference/config.md` and `docs/reference/config.schema.json`. Run by `make doc`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    std::fs::create_dir_all(&docs)?;
    std::fs::write(docs.join("config.md"), fireactions_config::reference_page())?;
    let schema = serde_json::to_string_pretty(fireactions_config::json_schema())?;
    std::fs::write(docs.join("config.schema.json"), schema + "\n")
}
