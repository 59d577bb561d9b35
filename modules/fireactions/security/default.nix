# security.*: what of it is the host's is services.microvm-base.security; what is this service's is here. See README.md.
{ instance }:
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.services.${instance.name};
  net = cfg.security.network;
  alias = path: lib.mkAliasOptionModule ([ "services" instance.name "security" ] ++ path) ([ "services" "microvm-base" "security" ] ++ path);
  inherit (import ../../../nix/places.nix { inherit instance cfg; }) bridge;
  additional = lib.concatMapStringsSep "\n" (line: "  ${line}") (lib.filter (line: line != "") (lib.splitString "\n" net.additionalRules));
  rules = import ../../../nix/limits.nix { inherit bridge; rate = net.rateLimitConnections; inherit additional; };
  limited = net.enable && (net.rateLimitConnections > 0 || net.additionalRules != "");
in
{
  imports = map alias [
    [ "enable" ]
    [ "hardening" "sysctls" "enable" ]
    [ "hardening" "disableHyperthreading" ]
    [ "storage" "enable" ]
    [ "storage" "encryption" "enable" ]
    [ "storage" "encryption" "size" ]
    [ "storage" "secureDelete" "enable" ]
    [ "storage" "secureDelete" "method" ]
    [ "storage" "tmpfsSecrets" "enable" ]
    [ "storage" "tmpfsSecrets" "size" ]
    [ "storage" "tmpfsSecrets" "path" ]
  ];

  options.services.${instance.name}.security = {
    hardening.systemdHardening.enable = mkOption { type = types.bool; default = true; description = "Whether the unit is closed further than the packaged one."; };
    network = {
      enable = mkOption { type = types.bool; default = false; description = "Whether the options beside this one count. The server's own isolation of guests is always there."; };
      blockVmToVm = mkOption { type = types.bool; default = true; description = "Guests never reach each other; `false` has no effect but a warning."; };
      blockCloudMetadata = mkOption { type = types.bool; default = true; description = "`false` opens link-local addresses (169.254.0.0/16), such as a cloud's metadata service, to all pools."; };
      rateLimitConnections = mkOption { type = types.ints.unsigned; default = 100; description = "New connections of all guests together, each second; bursts of 50 pass. 0: no limit."; };
      allowedHostPorts = mkOption { type = types.listOf types.port; default = [ ]; description = "TCP ports at the bridge's address that guests reach. Those of the registry cache are opened by themselves."; };
      allowedHostUdpPorts = mkOption { type = types.listOf types.port; default = [ ]; description = "UDP ports likewise."; };
      additionalRules = mkOption { type = types.lines; default = ""; example = "iifname \"${bridge}\" tcp dport 25 drop"; description = "nftables rules for the chain `forward` of the table `inet ${instance.name}_limits`."; };
    };
  };

  config = lib.mkIf cfg.enable {
    warnings = lib.optional (!net.blockVmToVm) "services.${instance.name}.security.network.blockVmToVm has no effect: guests never reach each other";

    # As a table of NixOS's own where it has nftables; otherwise a unit loads it.
    networking.nftables.tables = lib.mkIf (limited && config.networking.nftables.enable) {
      "${instance.name}_limits" = { family = "inet"; content = rules; };
    };
    systemd.services."${instance.name}-limits" = lib.mkIf (limited && !config.networking.nftables.enable) {
      description = "${instance.name}: limits for guests' connections";
      wantedBy = [ "multi-user.target" ];
      after = [ "firewall.service" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${pkgs.nftables}/bin/nft -f ${pkgs.writeText "${instance.name}-limits.nft" ''
          table inet ${instance.name}_limits
          delete table inet ${instance.name}_limits
          table inet ${instance.name}_limits {
          ${rules}
          }
        ''}";
        ExecStop = "${pkgs.nftables}/bin/nft delete table inet ${instance.name}_limits";
      };
    };
  };
}
