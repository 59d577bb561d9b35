# What the module can close beyond the packaged unit, because it knows the configuration. The reasons for what stays open are in the
# packaged unit itself.
{ driver, home, modules, jailer ? true }:
let
  util = import ./util.nix;
  firecracker = driver == "firecracker";
in
{
  # Nothing that is mounted for a jail appears on the host.
  PrivateMounts = [ "yes" ];
  # Only the network's part of /proc/sys is written: the bridge, the taps, ip_forward.
  ProtectKernelTunables = [ "yes" ];
  ReadWritePaths = [ "/proc/sys/net" ];
  # No priority, affinity or memory policy is needed. Limits of resources are set by prlimit, which is another call; QEMU's libraries try
  # a memory policy at their start and do without.
  SystemCallFilter = [ "~@resources" ];
}
# Credentials of registries may be in somebody's home; nothing else is looked for there.
// (if home then { } else { ProtectHome = [ "yes" ]; })
# The guests' kernel modules come from the store, unless the configuration says otherwise.
// (if modules then { } else { ProtectKernelModules = [ "yes" ]; })
# Firecracker generates no code; QEMU does without KVM.
// (if firecracker then { MemoryDenyWriteExecute = [ "yes" ]; } else { })
# Only the jailer makes device files and file systems of its own.
// (if firecracker && jailer then { } else { RestrictNamespaces = [ "net" ]; })
