# Colmena's hive: a node for each host of registry.json, in this directory or in one of yours. `profiles` is a directory of your own
# profiles, beside the project's, and `secretsFile` your secrets.
{ nixpkgs, disko, sops-nix, self, directory ? ./., profiles ? null, secretsFile ? null }:
let
  inherit (nixpkgs) lib;
  registry = import ../nix/registry.nix;
  hosts = registry.read (directory + "/registry.json");
  orphans = registry.orphans { inherit hosts; files = builtins.attrNames (builtins.readDir directory); };
  node = import ../nix/node.nix { inherit disko sops-nix self directory profiles secretsFile; };
  checked = if orphans == [ ] then hosts else throw (builtins.head orphans);
in
{
  meta = {
    nixpkgs = import nixpkgs { system = "x86_64-linux"; };
    nodeNixpkgs = lib.mapAttrs (_: host: import nixpkgs { inherit (host) system; overlays = [ self.overlays.default ]; }) checked;
    specialArgs = { inherit self; };
  };
} // lib.mapAttrs
  (name: host: {
    deployment = {
      targetHost = host.hostname;
      inherit (host) targetUser buildOnTarget tags;
    };
    imports = node { inherit name host; };
  })
  checked
