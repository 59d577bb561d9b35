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
      # What is fetched by https from here is cached too; guests trust the host's authority for it.
      squid.sslBump.domains = [ ".githubusercontent.com" ];
    };
  };
}
