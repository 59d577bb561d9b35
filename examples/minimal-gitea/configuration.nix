{
  services.fireteact = {
    enable = true;
    gitea = {
      instanceUrl = "https://git.example.com";
      # An access token of an owner of the organization, in a file that root alone reads.
      apiTokenFile = "/var/lib/secrets/gitea-api-token";
      runnerOwner = "YOUR-ORG";
    };
    pools = [{
      name = "default";
      maxRunners = 5;
      runner.labels = [ "ubuntu-24.04" ];
    }];
  };
  networking.hostName = "gitea-runner";
  services.openssh.enable = true;
  users.users.root.openssh.authorizedKeys.keys = [ "ssh-ed25519 YOUR-PUBLIC-KEY" ];
  system.stateVersion = "25.11";
}
