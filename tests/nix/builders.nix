# nixpkgs' builders, for a tree without them: packages are evaluated, with all that they say, and not built.
final: prev:
let
  inherit (prev) lib;
  package = name: arguments: final.runCommand name { inherit (arguments) meta; passthru = arguments; } "mkdir $out";
  named = arguments: package "${arguments.pname}-${arguments.version}" arguments;
  fetched = name: hash: assert lib.hasPrefix "sha256-" hash; final.runCommand name { } "mkdir $out";
in
if prev ? rustPlatform then { } else {
  # What a package does not have to be given has its own value.
  callPackage = file: arguments:
    let function = if lib.isFunction file then file else import file; in
    lib.makeOverridable function (lib.mapAttrs (name: _: final.${name}) (lib.filterAttrs (_: optional: !optional) (removeAttrs (lib.functionArgs function) (lib.attrNames arguments))) // arguments);
  stdenv = prev.stdenv // {
    cc = prev.stdenv.cc // { targetPrefix = ""; };
    mkDerivation = arguments: builtins.seq (arguments.src.drvPath or null) (prev.stdenv.mkDerivation arguments);
  };
  rustPlatform.buildRustPackage = arguments: assert builtins.pathExists arguments.cargoLock.lockFile; named arguments;
  buildGoModule = arguments: named (if lib.isFunction arguments then lib.fix arguments else arguments);
  fetchFromGitHub = { owner, repo, rev, hash }: fetched "${repo}-${rev}" hash;
  fetchurl = { url, hash }: fetched (baseNameOf url) hash;
  mkShell = { packages }: final.runCommand "shell" { inherit packages; } "mkdir $out";
}
# Packages that no module of NixOS asks for.
// lib.genAttrs (lib.subtractLists (builtins.attrNames prev) [
  "cargo" "clippy" "rustc" "rustfmt" "nixpkgs-fmt" "jq" "sops" "age" "ssh-to-age" "cmake" "pkg-config" "squashfs-tools-ng" "flex" "bison"
  "perl" "bc" "openssl" "elfutils" "installShellFiles"
]) (name: final.runCommand name { } "mkdir $out")
