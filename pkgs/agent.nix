# The guests' PID 1: one static file, for any image. To be called with pkgsStatic.
{ lib, rustPlatform, callPackage }:
rustPlatform.buildRustPackage {
  pname = "fireactions-agent";
  version = (lib.importTOML ../Cargo.toml).workspace.package.version;
  src = callPackage ./source.nix { };
  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [ "-p" "fireactions-agent" ];
  buildType = "agent";
  doCheck = false;
  meta = {
    description = "fireactions' agent in the guest";
    license = lib.licenses.mit;
    platforms = [ "x86_64-linux" "aarch64-linux" ];
    mainProgram = "fireactions-agent";
  };
}
