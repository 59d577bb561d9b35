# says: services.microvm-base.security.storage.secureDelete.method: 'zero' overwrites a whole file system
{ services.fireactions = { enable = true; security = { enable = true; storage = { enable = true; secureDelete.method = "zero"; }; }; pools = [{ name = "default"; }]; }; }
