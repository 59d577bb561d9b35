# NixOS's own service of NATS, with this configuration.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.fireactions-queue;
  text = builtins.toJSON ((import ../../nix/queue.nix).config {
    cfg = cfg // { dataDir = toString cfg.dataDir; };
    files = { cert = toString cfg.tls.certFile; key = "/run/credentials/nats.service/tls.key"; ca = toString cfg.tls.caFile; };
  });
  file = pkgs.writeText "nats.json" text;
  server = "${pkgs.nats-server}/bin/nats-server";
in
{
  config = lib.mkIf cfg.enable {
    assertions = (import ../../nix/mistakes.nix { }).queue cfg;
    services.nats = { enable = true; serverName = cfg.name; jetstream = true; inherit (cfg) port; dataDir = toString cfg.dataDir; };
    systemd.services.nats.serviceConfig = {
      # Its own check when the system is built would want the key there. So NATS judges the file where the key is, before it starts.
      ExecStartPre = "${server} -t -c ${file}";
      ExecStart = lib.mkForce "${server} -c ${file}";
      LoadCredential = lib.optional (cfg.tls.keyFile != null) "tls.key:${toString cfg.tls.keyFile}";
    };
    networking.firewall.allowedTCPPorts = lib.optionals cfg.openFirewall ([ cfg.port ] ++ lib.optional (cfg.nodes != [ ]) cfg.routePort);
  };
}
