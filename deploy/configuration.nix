# What nixos-anywhere installs: the base alone. Profiles come with the first `colmena apply`.
{ modulesPath, ... }: {
  imports = [
    ./base.nix
    ./disko.nix
    (modulesPath + "/installer/scan/not-detected.nix")
    (modulesPath + "/profiles/qemu-guest.nix")
  ];
}
