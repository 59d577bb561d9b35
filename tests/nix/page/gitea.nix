{
services.fireteact = {
  enable = true;
  gitea = {
    instanceUrl = "https://gitea.example.com";
    runnerTokenFile = "/run/secrets/gitea-runner-token";
  };
  pools = [{
    name = "default";
    maxRunners = 5;
    runner = {
      labels = [ "ubuntu-24.04" ];
    };
  }];
};
}
