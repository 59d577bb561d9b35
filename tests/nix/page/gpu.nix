{ lib, ... }: {
  services.fireactions.pools = lib.mkDefault [{
    name = "gpu";
    maxRunners = 2;
    runner.labels = [ "self-hosted" "gpu" ];
  }];
}
