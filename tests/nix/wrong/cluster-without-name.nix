# says: services.fireactions.cluster.name / has no name; give it the one that all of its hosts have
{ services.fireactions = { enable = true; pools = [{ name = "default"; }]; cluster.nats.urls = [ "tls://nats.example.com:4222" ]; }; }
