# says: services.fireactions.github.appPrivateKeyFile: a GitHub App needs its private key
{ services.fireactions = { enable = true; github.appId = 1; pools = [{ name = "default"; runner.organization = "o"; }]; }; }
