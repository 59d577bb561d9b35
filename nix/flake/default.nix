# The flake's outputs, each in a file of its own.
inputs@{ self, nixpkgs, ... }:
let
  inherit (nixpkgs) lib;
  linux = [ "x86_64-linux" "aarch64-linux" ];
  everywhere = linux ++ [ "x86_64-darwin" "aarch64-darwin" ];
  each = systems: f: lib.genAttrs systems (system: f (import nixpkgs { inherit system; }));
  perSystem = file: each everywhere (pkgs: import file { inherit inputs pkgs lib; });
in
{
  packages = perSystem ./packages.nix;
  devShells = perSystem ./shell.nix;
  checks = each linux (pkgs: import ./checks.nix { inherit inputs pkgs lib; });
  apps = perSystem ./apps.nix;
  formatter = each everywhere (pkgs: pkgs.nixpkgs-fmt);

  overlays.default = import ../overlay.nix;
  nixosModules = import ./modules.nix;
  nixosConfigurations = import ./systems.nix { inherit inputs lib; };
  colmenaHive = inputs.colmena.lib.makeHive (import ../../hosts { inherit (inputs) nixpkgs disko sops-nix; inherit self; });

  lib = {
    inherit (import ../sizes.nix) sizes mkPool;
    inherit (import ../../profiles { inherit lib; }) availableProfiles getProfilesForTags;
  };
}
