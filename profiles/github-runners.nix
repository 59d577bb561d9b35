# Runners of GitHub. Pools come from a size's profile or the host's own file; the organization, which no profile can know, from
# services.fireactions.github.organization there.
{ lib, ... }: {
  services.fireactions = {
    enable = true;
    # Docker with bridges runs in guests with this kernel.
    kernelSource = lib.mkDefault "custom";
    github = {
      appIdFile = lib.mkDefault "/run/secrets/github-app-id";
      appPrivateKeyFile = lib.mkDefault "/run/secrets/github-app-key";
    };
  };
}
