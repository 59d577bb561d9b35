# A host that runs its share of the organization's jobs.
{ config, ... }:
let name = config.networking.hostName; in
{
  services.fireactions = {
    enable = true;
    github = { appId = 12345; appPrivateKeyFile = "/run/secrets/github-app-key"; organization = "YOUR-ORG"; };
    pools = [{ name = "default"; runner.labels = [ "self-hosted" "linux" ]; }];
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
