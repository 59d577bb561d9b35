# `nix develop`: what the fleet is managed with, and on Linux what the server is built with.
{ inputs, pkgs, lib }:
{
  default = pkgs.mkShell {
    packages = [
      pkgs.nixpkgs-fmt
      pkgs.jq
      pkgs.sops
      pkgs.age
      pkgs.ssh-to-age
      inputs.colmena.packages.${pkgs.stdenv.hostPlatform.system}.colmena
    ] ++ lib.optionals pkgs.stdenv.isLinux [
      pkgs.cargo
      pkgs.rustc
      pkgs.clippy
      pkgs.rustfmt
      pkgs.cmake
      pkgs.pkg-config
      pkgs.qemu_kvm
      pkgs.nftables
      pkgs.squashfs-tools-ng
      pkgs.e2fsprogs
      pkgs.zstd
    ];
  };
}
