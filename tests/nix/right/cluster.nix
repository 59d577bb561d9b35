# A host of a cluster that has the cluster's NATS, too, and a socket in another place.
{
  services.fireactions = {
    enable = true;
    pools = [{ name = "default"; }];
    settings.api_socket = "/run/ci/api.sock";
    cluster = {
      name = "ci";
      host = { name = "ci-1"; zone = "z"; labels = [ "gpu" ]; };
      nats = {
        urls = [ "tls://nats.example.com:4222" ];
        tls = { certFile = "/etc/ci/ci-1.pem"; keyFile = "/run/secrets/ci-1.key"; caFile = "/etc/ci/ca.pem"; };
      };
    };
  };
  services.fireactions-queue = {
    enable = true;
    hosts = [ "ci-1" ];
    nodes = [ "a.example.com" "b.example.com" "c.example.com" ];
    tls = { certFile = "/etc/ci/nats.pem"; keyFile = "/run/secrets/nats.key"; caFile = "/etc/ci/ca.pem"; };
    openFirewall = true;
  };
}
