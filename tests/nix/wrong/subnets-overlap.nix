# says: services.fireactions.networking.subnet (in / subnets-overlap.nix) is 10.200.0.0/16 and services.fireteact.networking.subnet (in / is 10.200.4.0/24, which overlap; choose networks
{
  services.fireactions = { enable = true; networking.subnet = "10.200.0.0/16"; pools = [{ name = "default"; }]; };
  services.fireteact = { enable = true; networking.subnet = "10.200.4.0/24"; gitea = { instanceUrl = "https://g.example.com"; runnerTokenFile = "/run/t"; }; pools = [{ name = "default"; }]; };
}
