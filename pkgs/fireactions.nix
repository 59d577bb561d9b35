# The server and the command line. Dependencies come from Cargo.lock, so no hash of them is needed.
{ lib, rustPlatform, installShellFiles, stdenv, cmake, pkg-config, callPackage, page ? callPackage ./page.nix { } }:
rustPlatform.buildRustPackage {
  pname = "fireactions";
  version = (lib.importTOML ../Cargo.toml).workspace.package.version;
  src = callPackage ./source.nix { };
  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [ "-p" "fireactions" ];
  # `null` is without: then the server says in its place how to build it.
  env = lib.optionalAttrs (page != null) { FIREACTIONS_PAGE = "${page}"; };
  # Tests need root, a network of their own and guests: `make test`.
  doCheck = false;
  # aws-lc and SQLite are C.
  nativeBuildInputs = [ installShellFiles cmake pkg-config ];
  dontUseCmakeConfigure = true;
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    installShellCompletion --cmd fireactions \
      --bash <($out/bin/fireactions completion bash) \
      --fish <($out/bin/fireactions completion fish) \
      --zsh <($out/bin/fireactions completion zsh)
  '';
  meta = {
    description = "CI jobs of GitHub, Gitea and Forgejo, each in its own microVM";
    license = lib.licenses.mit;
    platforms = [ "x86_64-linux" "aarch64-linux" ];
    mainProgram = "fireactions";
  };
}
