# What every host of the fleet has: boot, network, the way in.
{ lib, pkgs, ... }: {
  # Boots from BIOS and from UEFI, also where the firmware forgets its entries.
  boot.loader.grub = { enable = true; efiSupport = true; efiInstallAsRemovable = true; };
  boot.kernelModules = [ "kvm-intel" "kvm-amd" ];

  networking.useDHCP = lib.mkDefault true;
  networking.firewall = {
    enable = true;
    allowedTCPPorts = [ 22 ];
    logRefusedConnections = false;
  };

  services.openssh = {
    enable = true;
    settings = { PasswordAuthentication = lib.mkDefault false; PermitRootLogin = lib.mkDefault "prohibit-password"; };
  };
  services.fail2ban = {
    enable = true;
    maxretry = 3;
    bantime = "1h";
    bantime-increment = { enable = true; maxtime = "48h"; };
  };

  environment.systemPackages = [ pkgs.vim pkgs.git pkgs.curl pkgs.htop pkgs.tmux ];
  time.timeZone = lib.mkDefault "UTC";
  nix.settings = {
    experimental-features = [ "nix-command" "flakes" ];
    trusted-users = [ "root" "@wheel" ];
  };
  system.stateVersion = lib.mkDefault "25.11";
}
