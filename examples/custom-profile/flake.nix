# A host with the profiles of its tags, one of which is your own.
{
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    nixos-fireactions.url = "github:thpham/nixos-fireactions";
    nixos-fireactions.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs = { nixpkgs, nixos-fireactions, ... }: {
    nixosConfigurations.gpu-runner = nixpkgs.lib.nixosSystem {
      system = "x86_64-linux";
      modules = [
        nixos-fireactions.nixosModules.fireactions
        nixos-fireactions.nixosModules.fireteact
        ./gpu.nix
        {
          services.fireactions.github.organization = "YOUR-ORG";
          networking.hostName = "gpu-runner";
          services.openssh.enable = true;
          system.stateVersion = "25.11";
        }
      ] ++ nixos-fireactions.lib.getProfilesForTags [ "prod" "runners" ];
    };
  };
}
