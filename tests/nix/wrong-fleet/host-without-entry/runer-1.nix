{ networking.firewall.allowPing = false; }
