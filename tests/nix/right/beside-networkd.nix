{
  networking.useNetworkd = true;
  networking.useHostResolvConf = false;
  networking.firewall.enable = false;
  services.fireteact = {
    enable = true;
    driver = "qemu";
    gitea = { kind = "forgejo"; instanceUrlFile = "/run/secrets/url"; apiTokenFile = "/run/secrets/token"; runnerOwnerFile = "/run/secrets/owner"; };
    pools = [{ name = "default"; }];
  };
}
