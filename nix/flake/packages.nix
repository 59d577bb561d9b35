# Programs and kernels on Linux; images of hosts everywhere, for the processor that this is, and -cross for the other.
{ inputs, pkgs, lib }:
let
  own = import ../../pkgs { inherit pkgs; };
  arm = pkgs.stdenv.hostPlatform.isAarch64;
  image = format: file: suffix: system: {
    name = "image-${suffix}";
    value = inputs.nixos-generators.nixosGenerate { inherit system format; modules = [ file ]; };
  };
  here = if arm then "aarch64-linux" else "x86_64-linux";
  other = if arm then "x86_64-linux" else "aarch64-linux";
  images = format: suffix: file: [ (image format file suffix here) (image format file "${suffix}-cross" other) ];
in
lib.optionalAttrs pkgs.stdenv.isLinux {
  inherit (own) fireactions fireteact fireactions-agent firecracker-kernel firecracker-kernel-custom tc-redirect-tap zot;
  default = own.fireactions;
}
  // lib.listToAttrs (images "qcow" "qcow2" ../../images/qcow2.nix ++ images "azure" "azure" ../../images/azure.nix)
