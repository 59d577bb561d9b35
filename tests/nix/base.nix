# A machine without hardware: no kernel, no boot loader, no file systems.
{ lib, ... }: {
  boot.isContainer = true;
  system.stateVersion = "24.11";
  documentation.enable = false;
  security.wrappers = lib.mkForce { };
  security.sudo.enable = false;
  environment.stub-ld.enable = false;
  networking.nftables.checkRuleset = false;
  networking.hostName = lib.mkDefault "machine";
}
