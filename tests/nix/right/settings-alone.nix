# What `settings` say wins over options of the same meaning.
{
  services.fireactions = {
    enable = true;
    openFirewall = true;
    settings = {
      state_dir = "/srv/ci";
      bind_address = ":9000";
      network = { bridge = "ci0"; subnet = "10.77.0.0/20"; };
      actions_cache = { enabled = true; storage_dir = "/srv/actions-cache"; };
    };
    pools = [{ name = "default"; }];
  };
}
