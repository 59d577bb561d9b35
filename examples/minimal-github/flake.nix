# One host with runners of a GitHub organization. Change the words in capitals; secrets: ../../docs/GETTING_STARTED.md.
{
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    nixos-fireactions.url = "github:thpham/nixos-fireactions";
    nixos-fireactions.inputs.nixpkgs.follows = "nixpkgs";
    sops-nix.url = "github:Mic92/sops-nix";
    sops-nix.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs = { nixpkgs, nixos-fireactions, sops-nix, ... }: {
    nixosConfigurations.github-runner = nixpkgs.lib.nixosSystem {
      system = "x86_64-linux";
      modules = [
        nixos-fireactions.nixosModules.fireactions
        sops-nix.nixosModules.sops
        ./configuration.nix
        # Disks and boot loader, as `nixos-generate-config` writes them on the host:
        # ./hardware-configuration.nix
      ];
    };
  };
}
