# Secrets, decrypted on the host by its own SSH key. Which there are follows from what the host's services ask for.
{ config, lib, ... }:
let
  known = {
    github-app-id = { key = "github_app_id"; unit = "fireactions"; };
    github-app-key = { key = "github_app_private_key"; unit = "fireactions"; };
    gitea-api-token = { key = "gitea_api_token"; unit = "fireteact"; };
    gitea-runner-token = { key = "gitea_runner_token"; unit = "fireteact"; };
    gitea-instance-url = { key = "gitea_instance_url"; unit = "fireteact"; };
    gitea-runner-owner = { key = "gitea_runner_owner"; unit = "fireteact"; };
    gitea-runner-repo = { key = "gitea_runner_repo"; unit = "fireteact"; };
  };
  # A host's own: the file has those of all.
  own = lib.genAttrs [ "nats-key" ] (_: {
    key = "nats_key_${config.networking.hostName}";
    unit = if config.services.fireactions-queue.enable then "nats" else "fireactions";
  });
  github = config.services.fireactions;
  gitea = config.services.fireteact;
  asked = map toString (lib.filter (file: file != null)
    (lib.optionals github.enable (with github.github; [ appIdFile appPrivateKeyFile tokenFile ] ++ [ github.apiTokenFile ])
      ++ lib.optionals gitea.enable (with gitea.gitea; [ apiTokenFile runnerTokenFile instanceUrlFile runnerOwnerFile runnerRepoFile ] ++ [ gitea.apiTokenFile ])
      ++ (with github.cluster.nats; [ tls.keyFile ]) ++ lib.optional config.services.fireactions-queue.enable config.services.fireactions-queue.tls.keyFile));
in
{
  sops = {
    defaultSopsFile = lib.mkDefault ../secrets/secrets.yaml;
    # A host without services has no secrets, and the file may not be there yet.
    validateSopsFiles = lib.mkDefault (builtins.pathExists ../secrets/secrets.yaml);
    age = {
      sshKeyPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
      keyFile = "/var/lib/sops-nix/key.txt";
      generateKey = true;
    };
    secrets = lib.mapAttrs
      (_: secret: {
        inherit (secret) key;
        mode = "0400";
        owner = "root";
        group = "root";
        # Credentials are read at a start. It ends no job.
        restartUnits = [ "${secret.unit}.service" ];
      })
      (lib.filterAttrs (name: _: lib.elem "/run/secrets/${name}" asked) (known // own));
  };
}
