{ lib, ... }: {
  networking.nftables.enable = true;
  virtualisation.docker.enable = true;
  virtualisation.libvirtd.enable = true;
  networking.networkmanager = { enable = true; plugins = lib.mkForce [ ]; };
  services.fireactions = {
    enable = true;
    security.network.enable = true;
    registryCache.enable = true;
    settings.actions_cache.enabled = true;
    pools = [{ name = "default"; }];
  };
}
