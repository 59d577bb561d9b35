# says: services.fireteact.gitea.runnerRepo: runners of the scope 'repo' need a repository
{ services.fireteact = { enable = true; gitea = { instanceUrl = "https://g.example.com"; apiTokenFile = "/run/t"; runnerOwner = "o"; runnerScope = "repo"; }; pools = [{ name = "default"; }]; }; }
