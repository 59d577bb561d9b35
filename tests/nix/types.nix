# The modules' own options with another nixpkgs.lib than the tree's, and of NixOS only that the options are there which they set.
{ lib, pkgs, modules }:
let
  inherit (lib) mkOption types;
  any = mkOption { type = types.lazyAttrsOf types.anything; default = { }; };
  list = mkOption { type = types.listOf types.anything; default = [ ]; };
  off = mkOption { type = types.bool; default = false; };
  evaluated = lib.evalModules {
    specialArgs = { inherit pkgs; };
    modules = modules ++ [
      ../../modules/fireactions
      ../../modules/fireteact
      {
        options = {
          assertions = list;
          warnings = list;
          boot = { kernelModules = list; kernelParams = list; kernel.sysctl = any; };
          environment = { etc = any; systemPackages = list; variables = any; };
          fileSystems = any;
          networking = {
            hostName = mkOption { type = types.str; default = "host"; };
            nftables = { enable = off; tables = any; };
            firewall = { enable = off; filterForward = off; allowedTCPPorts = list; interfaces = any; extraForwardRules = mkOption { type = types.lines; default = ""; }; };
            networkmanager.unmanaged = list;
            dhcpcd.denyInterfaces = list;
            useNetworkd = off;
            useHostResolvConf = off;
          };
          services = { logrotate.settings = any; nats = any; };
          systemd = { services = any; sockets = any; timers = any; network.networks = any; tmpfiles.rules = list; };
          users = { users = any; groups = any; };
          virtualisation.docker.enable = off;
        };
      }
    ];
  };
in
{
  failed = map (claim: claim.message) (builtins.filter (claim: !claim.assertion) evaluated.config.assertions);
  rendered = builtins.mapAttrs (name: _: evaluated.config.services.${name}.renderedConfig)
    (lib.filterAttrs (name: _: evaluated.config.services.${name}.enable) { fireactions = { }; fireteact = { }; });
}
