# says: services.fireteact.gitea.instanceUrl: nothing says where the Gitea is
{ services.fireteact = { enable = true; gitea.runnerTokenFile = "/run/t"; pools = [{ name = "default"; }]; }; }
