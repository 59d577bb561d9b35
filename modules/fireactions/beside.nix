# The machines' bridge beside what else a NixOS host has for its network.
{ instance }:
{ config, lib, pkgs, ... }:
let
  cfg = config.services.${instance.name};
  inherit (import ../../nix/places.nix { inherit instance cfg; }) bridge;
  own = cfg.configFile != null;
  # The cache of actions is at the bridge's address, for the guests of all pools.
  cache = cfg.renderedConfig.actions_cache or { };
  opened = lib.unique (if own then [ ] else
    builtins.concatMap (pool: pool.network.host_ports or [ ]) (cfg.renderedConfig.pools or [ ])
    ++ lib.optional (cache.enabled or false) "tcp/${toString (cache.port or 5080)}");
  ports = protocol: map (port: lib.toInt (lib.removePrefix "${protocol}/" port)) (builtins.filter (lib.hasPrefix "${protocol}/") opened);
  docker = config.virtualisation.docker.enable or false;
in
{
  config = lib.mkIf cfg.enable {
    # NixOS's firewall drops what is not let in; what pools open on the host is.
    networking.firewall.interfaces.${bridge} = { allowedTCPPorts = ports "tcp"; allowedUDPPorts = ports "udp"; };
    networking.firewall.extraForwardRules = lib.mkIf config.networking.firewall.filterForward ''
      iifname "${bridge}" accept
      oifname "${bridge}" ct state established,related accept
    '';

    # The bridge and its taps are the server's; nobody else gives them addresses.
    systemd.network.networks."05-${instance.name}" = {
      matchConfig.Name = "${bridge} fam*";
      linkConfig.Unmanaged = true;
    };
    networking.networkmanager.unmanaged = [ "interface-name:${bridge}" "interface-name:fam*" ];
    networking.dhcpcd.denyInterfaces = [ bridge "fam*" ];

    # Docker drops what it does not know in FORWARD; its own chain for this is there once it runs.
    systemd.services."${instance.name}-docker" = lib.mkIf docker {
      description = "${instance.name}: guests' traffic beside Docker's rules";
      wantedBy = [ "docker.service" ];
      after = [ "docker.service" ];
      partOf = [ "docker.service" ];
      # Not networking.firewall.package, which is nftables where NixOS has that. Docker itself writes with iptables.
      path = [ pkgs.iptables ];
      serviceConfig = { Type = "oneshot"; RemainAfterExit = true; };
      script = ''
        iptables -w -C DOCKER-USER -i ${bridge} -j ACCEPT 2>/dev/null || iptables -w -I DOCKER-USER -i ${bridge} -j ACCEPT
        iptables -w -C DOCKER-USER -o ${bridge} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT 2>/dev/null ||
          iptables -w -I DOCKER-USER -o ${bridge} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
      '';
    };
  };
}
