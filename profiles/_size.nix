# A pool of a size for each service that is on. Of two sizes the one that comes later in the alphabet counts, as of all profiles.
size: priority:
{ lib, ... }:
let pool = lib.mkOverride priority [ ((import ../nix/sizes.nix).mkPool size { }) ];
in { services.fireactions.pools = pool; services.fireteact.pools = pool; }
