# NATS with JetStream for a cluster's hosts, on one host or on three.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkOption mkEnableOption types;
  file = description: mkOption { type = types.nullOr types.path; default = null; inherit description; };
in
{
  options.services.fireactions-queue = {
    enable = mkEnableOption "the NATS of a cluster (docs/cluster.md)";
    cluster = mkOption { type = types.str; default = "ci"; description = "Name of the cluster: that of `services.fireactions.cluster.name` on its hosts."; };
    hosts = mkOption { type = types.listOf types.str; default = [ ]; example = [ "ci-1" "ci-2" ]; description = "The cluster's hosts by the names that they have in it. Each is known by a certificate with this name (DNS), and may write what it says of itself and no other host's."; };
    name = mkOption { type = types.str; default = config.networking.hostName; defaultText = lib.literalExpression "config.networking.hostName"; description = "Name of this NATS server: each of three has its own."; };
    nodes = mkOption { type = types.listOf types.str; default = [ ]; example = [ "nats-1.example.com" "nats-2.example.com" "nats-3.example.com" ]; description = "DNS names of the three hosts that run NATS, this one among them, as in their certificates; empty: this one alone. What hosts say is kept by each of the three, and one of them may be away."; };
    port = mkOption { type = types.port; default = 4222; description = "Where the cluster's hosts connect."; };
    routePort = mkOption { type = types.port; default = 6222; description = "Where the three connect to each other."; };
    tls = {
      certFile = file "This server's certificate (PEM), for the DNS names that hosts and the other two use.";
      keyFile = file "Its key. It must not be in the Nix store, which everybody on the host can read.";
      caFile = file "The certificate of the authority (PEM) that signed those of servers and hosts. It should sign nobody else's.";
    };
    dataDir = mkOption { type = types.path; default = "/var/lib/nats"; description = "Where what hosts say is kept."; };
    maxStorage = mkOption { type = types.strMatching "[0-9]+[KMGT]"; default = "1G"; description = "Most that is kept. A cluster takes 256 MiB."; };
    openFirewall = mkOption { type = types.bool; default = false; description = "Whether the firewall lets in `port`, and with `nodes` `routePort`."; };
    settings = mkOption { type = (pkgs.formats.json { }).type; default = { }; example = { http = "127.0.0.1:8222"; }; description = "Whatever else NATS is to be told. Merged last: what is here wins."; };
  };
}
