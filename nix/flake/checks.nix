# `nix flake check`: the packages build, and the tests in virtual machines pass. Those need KVM.
{ inputs, pkgs, lib }:
let
  own = import ../../pkgs { inherit pkgs; };
  tests = ../../tests/nixos;
  # Their machines are emulated, and QEMU's are of this processor alone.
  names = lib.optionals pkgs.stdenv.hostPlatform.isx86_64
    (builtins.filter (file: lib.hasSuffix ".nix" file && !lib.hasPrefix "_" file) (builtins.attrNames (builtins.readDir tests)));
in
{ inherit (own) fireactions fireactions-agent; }
  // lib.listToAttrs (map
  (file: {
    name = "vm-${lib.removeSuffix ".nix" file}";
    value = pkgs.testers.runNixOSTest {
      imports = [ (tests + "/${file}") ];
      defaults.imports = [ inputs.self.nixosModules.fireactions inputs.self.nixosModules.fireteact ];
    };
  })
  names)
