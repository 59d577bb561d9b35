# A service with everything that it needs. services.fireactions and services.fireteact are this, with different names and numbers.
{ instance }:
{
  _file = ./module.nix;
  key = "${toString ./module.nix}#${instance.name}";
  imports = map
    (part: {
      _file = part;
      key = "${toString part}#${instance.name}";
      imports = [ (import part { inherit instance; }) ];
    }) [ ./options.nix ./render.nix ./service.nix ./beside.nix ./security ./cache.nix ]
  ++ [ ../microvm-base ../registry-cache ../queue ];
}
