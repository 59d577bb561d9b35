# The sizes of machines, and pools of them.
rec {
  sizes = {
    small = { memSizeMib = 1024; vcpuCount = 1; maxRunners = 2; minRunners = 1; };
    medium = { memSizeMib = 2048; vcpuCount = 2; maxRunners = 5; minRunners = 2; };
    large = { memSizeMib = 4096; vcpuCount = 4; maxRunners = 10; minRunners = 5; };
  };

  # A pool of a size, for `services.fireactions.pools` and `services.fireteact.pools`; what `overrides` has wins.
  mkPool = size: overrides:
    let
      util = import ./util.nix;
      known = builtins.attrNames sizes;
      spec = sizes.${size} or (throw
        "mkPool: there is no size '${size}'; known are ${builtins.concatStringsSep ", " known}${util.didYouMean size known}");
    in
    util.merge
      {
        name = "default";
        inherit (spec) maxRunners minRunners;
        runner = { imagePullPolicy = "Always"; labels = [ "self-hosted" "linux" size ]; };
        firecracker = { inherit (spec) memSizeMib vcpuCount; };
      }
      overrides;
}
