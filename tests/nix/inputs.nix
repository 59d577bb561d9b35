# The flake's outputs with inputs that are there: a tree in nixpkgs' place, and the modules of disko and sops-nix, or what stands in.
{ tree, binary, disko ? null, sops ? null }:
let
  nixlib = import (tree + "/lib");
  overlay = import ./overlay.nix { inherit binary; };
  nixosSystem = { system ? "x86_64-linux", modules, specialArgs ? { } }:
    import (tree + "/nixos/lib/eval-config.nix") {
      inherit system modules specialArgs;
      pkgs = import tree { inherit system; overlays = [ overlay ]; };
    };
  inputs = {
    self = outputs // { outPath = toString ../..; };
    nixpkgs = {
      # The tree, with builders where it has none.
      outPath = builtins.toFile "nixpkgs.nix" "arguments: import ${toString tree} (arguments // { overlays = (arguments.overlays or [ ]) ++ [ (import ${toString ./builders.nix}) ]; })";
      lib = nixlib // { inherit nixosSystem; };
    };
    disko.nixosModules.disko = if disko == null then ./stubs/disko.nix else disko + "/module.nix";
    sops-nix.nixosModules.sops = if sops == null then ./stubs/sops.nix else sops + "/modules/sops";
    colmena = { lib.makeHive = hive: hive; packages = nixlib.genAttrs [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ] (_: { colmena = null; }); };
    nixos-generators.nixosGenerate = import ./stubs/generators.nix { inherit tree nixosSystem; };
  };
  outputs = (import ../../flake.nix).outputs inputs;
  mistakes = system: map (claim: claim.message) (builtins.filter (claim: !claim.assertion) system.config.assertions);
in
{
  inherit inputs outputs mistakes nixosSystem;
  # An example's flake, as somebody who copied it has it.
  example = path: (import (path + "/flake.nix")).outputs (inputs // { self = { outPath = path; }; nixos-fireactions = outputs; });
  # A test in virtual machines, evaluated: its `nodes`.
  vmTest = file:
    let pkgs = import tree { overlays = [ overlay ]; }; in
    ((import (tree + "/nixos/lib/testing") { lib = nixlib; }).evalTest {
      imports = [ file ];
      hostPkgs = pkgs;
      node.pkgs = pkgs;
      defaults = { imports = [ outputs.nixosModules.fireactions outputs.nixosModules.fireteact ]; documentation.enable = false; };
    }).config;
  # A host of the fleet with these tags and this file of its own.
  host = { name ? "host", directory ? ./none, host ? { } }:
    let
      full = (import ../../nix/registry.nix).parse { text = builtins.toJSON { ${name} = { hostname = "192.0.2.1"; } // host; }; };
      node = import ../../nix/node.nix { inherit (inputs) disko sops-nix self; inherit directory; };
    in nixosSystem { inherit (full.${name}) system; modules = node { inherit name; host = full.${name}; }; };
}
