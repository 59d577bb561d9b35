# builds: the server refuses this configuration / cluster.nats.urls[0] has no TLS
{ services.fireactions = { enable = true; pools = [{ name = "default"; }]; cluster = { name = "ci"; nats = { urls = [ "nats://nats.example.com:4222" ]; credsFile = "/run/secrets/creds"; }; }; }; }
