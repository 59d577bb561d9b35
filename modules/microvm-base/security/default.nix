# services.microvm-base.security: sysctls, SMT, the encrypted state, memory for secrets.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.microvm-base;
  sec = cfg.security;
  storage = sec.storage;
  smtOff = sec.hardening.disableHyperthreading;
  encrypted = sec.enable && storage.enable && storage.encryption.enable;
  scratch = what: name: directory:
    "${pkgs.runtimeShell} ${../../../nix/scratch.sh} ${what} /var/lib/microvm-base/${name}.img ${name}-state ${directory} ${storage.encryption.size} ${storage.secureDelete.method}";
in
{
  config = lib.mkIf (cfg.enable && sec.enable) (lib.mkMerge [
    {
      warnings = lib.optional (!smtOff)
        "services.microvm-base.security: SMT stays on, so guests of two jobs may share a core; set hardening.disableHyperthreading, or know why not";
      assertions = [{
        assertion = !(storage.enable && storage.secureDelete.enable && storage.secureDelete.method == "zero" && !storage.encryption.enable);
        message = "services.microvm-base.security.storage.secureDelete.method: 'zero' overwrites a whole file system, so it needs one of its own: set storage.encryption.enable, or method = \"discard\"";
      }];
      # Over NixOS's own defaults, some of which are the same settings; below whatever a host says.
      boot.kernel.sysctl = lib.mkIf sec.hardening.sysctls.enable (lib.mapAttrs (_: lib.mkOverride 990) (import ../../../nix/sysctls.nix));
    }
    (lib.mkIf smtOff {
      boot.kernelParams = [ "nosmt=force" "l1tf=full,force" "mds=full,nosmt" "spec_store_bypass_disable=on" "tsx_async_abort=full,nosmt" ];
      systemd.services.microvm-base-verify-smt = {
        description = "microvm-base: SMT is off";
        wantedBy = [ "multi-user.target" ];
        serviceConfig = { Type = "oneshot"; RemainAfterExit = true; };
        script = ''
          active=$(cat /sys/devices/system/cpu/smt/active 2>/dev/null || echo 0)
          [ "$active" = 0 ] || { echo "SMT is on although services.microvm-base.security.hardening.disableHyperthreading is set: reboot, and look at the kernel's command line" >&2; exit 1; }
        '';
      };
    })
    (lib.mkIf (storage.enable && storage.tmpfsSecrets.enable) {
      fileSystems.${storage.tmpfsSecrets.path} = {
        device = "tmpfs";
        fsType = "tmpfs";
        options = [ "size=${storage.tmpfsSecrets.size}" "mode=0700" "noswap" "nodev" "nosuid" "noexec" ];
      };
    })
    (lib.mkIf (storage.enable && storage.secureDelete.enable) {
      systemd.services.microvm-base-discard = {
        description = "microvm-base: blocks of removed files are given back";
        path = [ pkgs.util-linux ];
        serviceConfig.Type = "oneshot";
        # A file system that cannot discard says so; that is no failure.
        script = lib.concatMapStringsSep "\n" (directory: "fstrim --quiet-unsupported ${directory}") (lib.attrValues cfg.stateDirectories);
      };
      systemd.timers.microvm-base-discard = {
        wantedBy = [ "timers.target" ];
        timerConfig = { OnBootSec = "10min"; OnUnitActiveSec = "30min"; };
      };
    })
    (lib.mkIf encrypted {
      boot.kernelModules = [ "dm_crypt" "loop" ];
      systemd.services = lib.mapAttrs'
        (name: directory: lib.nameValuePair "${name}-state" {
          description = "${name}: encrypted state directory";
          requiredBy = [ "${name}.service" ];
          before = [ "${name}.service" ];
          path = [ pkgs.cryptsetup pkgs.e2fsprogs pkgs.util-linux pkgs.coreutils ];
          unitConfig.RequiresMountsFor = "/var/lib";
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
            ExecStart = scratch "start" name directory;
            ExecStop = scratch "stop" name directory;
          };
        })
        cfg.stateDirectories;
    })
  ]);
}
