# Most options at once, in both spellings.
{ lib, pkgs, ... }: {
  services.fireactions = {
    enable = true;
    user = "ci";
    group = "ci";
    dataDir = "/srv/ci";
    bindAddress = "0.0.0.0:9000";
    apiTokenFile = "/run/secrets/api-token";
    openFirewall = true;
    socketActivation = true;
    metricsAddress = "0.0.0.0:9001";
    debug = true;
    github = { appId = "Iv23abc"; appPrivateKeyFile = "/run/secrets/key"; organization = "acme"; };
    credentials.github-webhook = "/run/secrets/webhook";
    kernelSource = "nixpkgs";
    networking = { bridgeName = "ci0"; subnet = "10.77.0.0/20"; };
    settings = {
      github.webhook = { listen = "127.0.0.1:8090"; secret_file = "credential:github-webhook"; };
      shutdown = { mode = "wait"; deadline = "10m"; };
      forges.ghes = { kind = "github"; token_file = "credential:github-webhook"; url = "https://ghes.example.com"; };
      images.insecure_registries = [ "registry.lan:5000" ];
    };
    pools = [
      { name = "a"; machine = { vcpu = 4; memSizeMib = 4096; }; runner.groupId = 3; settings.on_failure.hold = { "for" = "1h"; max = 1; }; }
      { name = "b"; firecracker = { vcpuCount = 1; memSizeMib = 512; kernelArgs = "quiet"; metadata.team = "x"; }; runner.organization = "other"; settings.runner.scale_set = "linux-small"; }
    ];
    security = {
      enable = true;
      hardening.disableHyperthreading = true;
      storage = { enable = true; encryption = { enable = true; size = "10G"; }; secureDelete.method = "zero"; };
      network = { enable = true; rateLimitConnections = 20; allowedHostPorts = [ 8081 ]; additionalRules = ''iifname "ci0" tcp dport 25 drop''; };
    };
    registryCache = { enable = true; zot.mirrors."registry.example.com".url = "https://registry.example.com"; squid.sslBump.mode = "off"; };
  };
  services.microvm-base = { dns.upstreamServers = [ "9.9.9.9" ]; kernel.args = "panic=1"; };
}
