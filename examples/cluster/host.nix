# A host with machines for its own queue, which the other one knows of.
{ config, ... }:
let name = config.networking.hostName; in
{
  services.fireactions = {
    enable = true;
    pools = [{ name = "default"; runner.image = "IMAGE"; }];
    cluster = {
      name = "ci";
      host = { inherit name; zone = "ROOM"; };
      nats = {
        urls = [ "tls://NATS.EXAMPLE.COM:4222" ];
        tls = {
          certFile = "/etc/fireactions/${name}.pem";
          keyFile = "/run/secrets/nats-key";
          caFile = "/etc/fireactions/ca.pem";
        };
      };
    };
  };
}
