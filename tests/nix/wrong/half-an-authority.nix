# says: services.registry-cache.squid.ca: certFile and keyFile belong together
{ services.registry-cache = { enable = true; squid.ca.certFile = "/etc/ca.pem"; networks = [{ bridgeName = "br0"; subnet = "10.0.0.0/24"; }]; }; }
