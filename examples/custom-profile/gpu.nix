# A profile of your own: profiles/gpu.nix. Hosts with the tags runners,gpu get it.
{ lib, ... }: {
  services.fireactions.pools = lib.mkDefault [{
    name = "gpu";
    maxRunners = 2;
    runner.labels = [ "self-hosted" "gpu" ];
  }];
}
