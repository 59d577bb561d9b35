# says: services.fireactions.settings.api_socket / /run/x.sock is in a directory that is not the server's alone
{ services.fireactions = { enable = true; pools = [{ name = "default"; }]; settings.api_socket = "/run/x.sock"; }; }
