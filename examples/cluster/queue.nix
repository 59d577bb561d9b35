# NATS, for the two hosts alone.
{
  services.fireactions-queue = {
    enable = true;
    cluster = "ci";
    hosts = [ "ci-1" "ci-2" ];
    tls = {
      certFile = "/etc/fireactions-queue/nats-1.pem";
      keyFile = "/run/secrets/nats-key";
      caFile = "/etc/fireactions-queue/ca.pem";
    };
    openFirewall = true;
  };
}
