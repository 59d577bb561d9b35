# Options of nixos-fireactions that have no effect here: each is a warning.
{
  imports = [ ../../../modules/fireglab ];
  services.fireglab = { enable = false; gitlab = { instanceUrl = "https://gitlab.example.com"; runnerType = "group_type"; }; pools = [{ name = "default"; runner.tags = [ "linux" ]; }]; };
  services.fireactions = {
    enable = true;
    networking.externalInterface = "ens3";
    debug.sshKeyFile = "/run/secrets/debug-ssh-key";
    basicAuth = { enable = true; users.admin = "x"; };
    pools = [{ name = "default"; }];
    security.network.blockVmToVm = false;
    registryCache = { enable = true; debug.sshKeyFile = "/run/secrets/debug-ssh-key"; mirrors."ghcr.io".credentials.username = "me"; };
  };
  services.fireteact = {
    enable = true;
    debugMode = true;
    gitea = { instanceUrl = "https://g.example.com"; apiTokenFile = "/run/t"; runnerOwner = "o"; apiToken = "x"; };
    pools = [{ name = "default"; }];
  };
  services.microvm-base.containerd.thinPoolSize = "20G";
}
