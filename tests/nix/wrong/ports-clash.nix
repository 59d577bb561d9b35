# says: services.fireactions.bindAddress and services.fireteact.bindAddress (in / ports-clash.nix) both listen at port 8080; choose another port
{
  services.fireactions = { enable = true; pools = [{ name = "default"; }]; };
  services.fireteact = { enable = true; bindAddress = ":8080"; gitea = { instanceUrl = "https://g.example.com"; runnerTokenFile = "/run/t"; }; pools = [{ name = "default"; }]; };
}
