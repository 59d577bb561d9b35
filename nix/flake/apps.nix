# `nix run .#fireactions -- …`, `nix run .#deploy -- …`.
{ inputs, pkgs, lib }:
let
  app = program: { type = "app"; inherit program; };
  fireactions = "${(import ../../pkgs { inherit pkgs; }).fireactions}/bin/fireactions";
in
lib.optionalAttrs pkgs.stdenv.isLinux {
  default = app fireactions;
  fireactions = app fireactions;
  deploy = app "${pkgs.writeShellScript "deploy" ''exec ${fireactions} host deploy "$@"''}";
}
