# The packages, for one package set. Tests put others in their place.
{ pkgs }:
let
  call = pkgs.callPackage;
  packages = rec {
    fireactions = call ./fireactions.nix { };
    # The same server under the name that Gitea's users know.
    fireteact = call ./fireteact.nix { inherit fireactions; };
    fireactions-agent = pkgs.pkgsStatic.callPackage ./agent.nix { };
    firecracker-kernel = call ./firecracker-kernel.nix { };
    firecracker-kernel-custom = call ./firecracker-kernel-custom.nix { };
    tc-redirect-tap = call ./tc-redirect-tap.nix { };
    zot = call ./zot.nix { };
    # Linked statically, as its jail needs it.
    firecracker = pkgs.pkgsStatic.firecracker;
  };
in
packages // (pkgs.fireactionsUnderTest or { })
