# Two hosts with machines, and one with the NATS by which they know of each other (docs/cluster.md). Change the words in capitals, and put
# your certificates beside this file.
{
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    nixos-fireactions.url = "github:thpham/nixos-fireactions";
    nixos-fireactions.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs = { nixpkgs, nixos-fireactions, ... }:
    let
      system = name: modules: nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          nixos-fireactions.nixosModules.fireactions
          { networking.hostName = name; services.openssh.enable = true; system.stateVersion = "25.11"; }
        ] ++ modules;
      };
    in
    {
      nixosConfigurations = {
        nats-1 = system "nats-1" [ ./queue.nix ];
        ci-1 = system "ci-1" [ ./host.nix ];
        ci-2 = system "ci-2" [ ./host.nix ];
      };
    };
}
