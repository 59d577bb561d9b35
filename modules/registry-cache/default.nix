# services.registry-cache: images and the web, once for all guests.
{ imports = [ ./options.nix ./service.nix ../microvm-base ]; }
