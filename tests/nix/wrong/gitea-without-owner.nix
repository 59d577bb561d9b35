# says: services.fireteact.gitea.runnerOwner: runners of the scope 'org' need an owner
{ services.fireteact = { enable = true; gitea = { instanceUrl = "https://g.example.com"; apiTokenFile = "/run/t"; }; pools = [{ name = "default"; }]; }; }
