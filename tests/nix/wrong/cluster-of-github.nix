# builds: pool 'default' belongs to the forge 'github', whose jobs the hosts of a cluster do not share yet
{ services.fireactions = { enable = true; github = { appId = 1; appPrivateKeyFile = "/run/secrets/key"; organization = "acme"; }; pools = [{ name = "default"; }]; cluster = { name = "ci"; nats = { urls = [ "tls://nats.example.com:4222" ]; credsFile = "/run/secrets/creds"; }; }; }; }
