# A sum of the files that declare options. It is in the reference page, so that one of them that changed without the page is noticed
# where there is no nixpkgs, too.
let
  modules = ../../modules;
  below = directory: builtins.concatMap
    (name:
      let path = directory + "/${name}"; in
      if (builtins.readDir directory).${name} == "directory" then below path
      else if name == "options.nix" || baseNameOf directory == "security" && name == "default.nix" then [ path ] else [ ])
    (builtins.attrNames (builtins.readDir directory));
  files = below modules ++ [ ../../modules/fireactions/cache.nix ../../nix/instances.nix ];
in
"Sum: ${builtins.hashString "sha256" (builtins.concatStringsSep "\n" (map builtins.readFile files))}"
