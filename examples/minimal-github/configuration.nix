{ config, ... }: {
  services.fireactions = {
    enable = true;
    github = {
      appIdFile = config.sops.secrets.github-app-id.path;
      appPrivateKeyFile = config.sops.secrets.github-app-key.path;
    };
    pools = [{
      name = "default";
      maxRunners = 5;
      # Machines start when jobs come.
      minRunners = 0;
      machine = { vcpu = 2; memSizeMib = 2048; };
      runner = {
        organization = "YOUR-ORG";
        labels = [ "self-hosted" "fireactions" "linux" "x64" ];
      };
    }];
  };

  sops = {
    defaultSopsFile = ./secrets.yaml;
    # The file is yours to make: ../../secrets/secrets.yaml.example.
    validateSopsFiles = false;
    age.sshKeyPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
    secrets = {
      github-app-id.key = "github_app_id";
      github-app-key.key = "github_app_private_key";
    };
  };

  networking.hostName = "github-runner";
  services.openssh = {
    enable = true;
    settings = { PasswordAuthentication = false; PermitRootLogin = "prohibit-password"; };
  };
  users.users.root.openssh.authorizedKeys.keys = [ "ssh-ed25519 YOUR-PUBLIC-KEY" ];
  system.stateVersion = "25.11";
}
