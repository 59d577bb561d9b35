# says: services.fireactions.cluster.nats.urls: nothing says where the cluster's NATS is / tls://nats.example.com:4222
{ services.fireactions = { enable = true; pools = [{ name = "default"; }]; cluster.name = "ci"; }; }
