# The example's fleet as Colmena has it, with inputs that are there, and hosts without hardware.
{ tree, binary }:
let
  flake = import ./inputs.nix { inherit tree binary; };
  inherit (flake.inputs) nixpkgs disko sops-nix self;
  hive = import ../../hosts { inherit nixpkgs disko sops-nix self; directory = ../../examples/fleet; };
  under = pkgs: import nixpkgs { inherit (pkgs.stdenv.hostPlatform) system; overlays = [ self.overlays.default (import ./overlay.nix { inherit binary; }) ]; };
in
hive // {
  meta = hive.meta // { nodeNixpkgs = builtins.mapAttrs (_: under) hive.meta.nodeNixpkgs; };
  defaults = { lib, ... }: { imports = [ ./base.nix ]; system.stateVersion = lib.mkForce "24.11"; networking.useHostResolvConf = lib.mkForce false; };
}
