# says: services.fireactions and services.fireteact both listen at port 8080; choose other ports
{
  services.fireactions = { enable = true; pools = [{ name = "default"; }]; };
  services.fireteact = { enable = true; bindAddress = ":8080"; gitea = { instanceUrl = "https://g.example.com"; runnerTokenFile = "/run/t"; }; pools = [{ name = "default"; }]; };
}
