# Runners of a Gitea's organization.
{ lib, ... }: {
  services.fireteact = {
    enable = true;
    kernelSource = lib.mkDefault "custom";
    gitea = {
      instanceUrlFile = lib.mkDefault "/run/secrets/gitea-instance-url";
      apiTokenFile = lib.mkDefault "/run/secrets/gitea-api-token";
      runnerOwnerFile = lib.mkDefault "/run/secrets/gitea-runner-owner";
    };
  };
}
