# Another name of github-runners.
{ imports = [ ./github-runners.nix ]; }
