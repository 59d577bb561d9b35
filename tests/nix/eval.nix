# A system of these modules, with the option types of the tree: `tree` is a nixpkgs, or has the parts of one that evaluation needs.
{ tree, binary, modules, system ? "x86_64-linux", base ? true }:
let
  pkgs = import tree { inherit system; overlays = [ (import ./overlay.nix { inherit binary; }) ]; };
  evaluated = import (tree + "/nixos/lib/eval-config.nix") {
    inherit system pkgs;
    modules = modules ++ (if base then [ ./base.nix ] else [ ]);
  };
  inherit (evaluated) config;
in
{
  inherit config pkgs;
  inherit (evaluated) options;
  failed = map (claim: claim.message) (builtins.filter (claim: !claim.assertion) config.assertions);
  inherit (config) warnings;
  unit = name: config.systemd.units."${name}.service".text;
}
