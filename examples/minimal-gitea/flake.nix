# One host with runners of a Gitea's organization. Change the words in capitals.
{
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    nixos-fireactions.url = "github:thpham/nixos-fireactions";
    nixos-fireactions.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs = { nixpkgs, nixos-fireactions, ... }: {
    nixosConfigurations.gitea-runner = nixpkgs.lib.nixosSystem {
      system = "x86_64-linux";
      modules = [ nixos-fireactions.nixosModules.fireteact ./configuration.nix ];
    };
  };
}
