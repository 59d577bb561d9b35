# says: services.fireteact.gitea.apiTokenFile: nothing lets the server register runners
{ services.fireteact = { enable = true; gitea = { instanceUrl = "https://g.example.com"; runnerOwner = "o"; }; pools = [{ name = "default"; }]; }; }
