# services.NAME.registryCache is services.registry-cache, under the name that it had before.
{ instance }:
{ lib, ... }:
let
  alias = from: to: lib.mkAliasOptionModule ([ "services" instance.name "registryCache" ] ++ from) ([ "services" "registry-cache" ] ++ to);
  same = path: alias path path;
in
{
  imports = [ (alias [ "mirrors" ] [ "zot" "mirrors" ]) ] ++ map same [
    [ "enable" ]
    [ "networks" ]
    [ "zot" "enable" ]
    [ "zot" "port" ]
    [ "zot" "mirrors" ]
    [ "squid" "enable" ]
    [ "squid" "sslBump" "mode" ]
    [ "squid" "sslBump" "domains" ]
    [ "squid" "memoryCache" ]
    [ "squid" "ca" "certFile" ]
    [ "squid" "ca" "keyFile" ]
    [ "squid" "ca" "validDays" ]
    [ "storage" "cacheDir" ]
    [ "storage" "maxSize" ]
    [ "logging" "accessLog" ]
    [ "logging" "cacheLog" ]
    [ "dns" "upstreamServers" ]
    [ "debug" "sshKeyFile" ]
  ];
}
