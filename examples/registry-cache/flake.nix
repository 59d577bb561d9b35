# A host with runners of GitHub and a cache of registries. Change the words in capitals.
{
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    nixos-fireactions.url = "github:thpham/nixos-fireactions";
    nixos-fireactions.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs = { nixpkgs, nixos-fireactions, ... }: {
    nixosConfigurations.runner = nixpkgs.lib.nixosSystem {
      system = "x86_64-linux";
      modules = [
        nixos-fireactions.nixosModules.fireactions
        ./configuration.nix
        { networking.hostName = "runner"; services.openssh.enable = true; system.stateVersion = "25.11"; }
      ];
    };
  };
}
