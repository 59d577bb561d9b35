# The NATS of a cluster (docs/cluster.md), with secrets of this host's own. Which hosts there are is said in hosts/NAME.nix by
# services.fireactions-queue.hosts, and on three of these the three by services.fireactions-queue.nodes.
{ lib, ... }: {
  services.fireactions-queue = {
    enable = true;
    openFirewall = lib.mkDefault true;
    tls = {
      certFile = lib.mkDefault "/etc/fireactions-queue/server.pem";
      keyFile = lib.mkDefault "/run/secrets/nats-key";
      caFile = lib.mkDefault "/etc/fireactions-queue/ca.pem";
    };
  };
}
