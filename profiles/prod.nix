# Production: quiet logs, root by key alone.
{ lib, ... }: {
  services.fireactions.logLevel = lib.mkDefault "warn";
  services.fireteact.logLevel = lib.mkDefault "warn";
  services.openssh.settings = {
    PermitRootLogin = lib.mkForce "prohibit-password";
    PasswordAuthentication = lib.mkForce false;
  };
  services.journald.extraConfig = ''
    SystemMaxUse=2G
    MaxRetentionSec=30day
  '';
}
