# What Rust's programs are built from, and nothing else: a change of a document builds nothing again.
{ lib }:
lib.cleanSourceWith {
  name = "fireactions-source";
  src = ./..;
  filter = path: _:
    let
      name = lib.removePrefix (toString ./.. + "/") (toString path);
      top = builtins.head (lib.splitString "/" name);
    in
    builtins.elem top [ "Cargo.toml" "Cargo.lock" "crates" "examples" "clippy.toml" ] || name == "docs" || lib.hasPrefix "docs/reference" name
      # The command line has this script in it.
      || name == "scripts" || name == "scripts/check-prerequisites.sh";
}
