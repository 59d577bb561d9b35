# Beside services.fireactions or services.fireteact: images and the web, once for all guests.
{
  services.fireactions = {
    enable = true;
    github.organization = "YOUR-ORG";
    github.appId = 12345;
    github.appPrivateKeyFile = "/run/secrets/github-app-key";
    pools = [{ name = "default"; runner.labels = [ "self-hosted" "linux" ]; }];

    registryCache = {
      enable = true;
      mirrors = {
        "docker.io" = { };
        "ghcr.io" = { };
        "registry.example.com" = { };
      };
      storage.maxSize = "100GB";
      # What is fetched by https from here is cached too, with an authority of your own that the pools' root images trust:
      # squid.sslBump.domains = [ ".githubusercontent.com" ];
      # squid.ca = { certFile = "/etc/registry-cache/ca.pem"; keyFile = "/run/secrets/registry-cache-ca.key"; };
    };
  };
}
