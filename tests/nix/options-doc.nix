# The reference page of the options, from the options.
{ tree, binary }:
let
  evaluated = import ./eval.nix { inherit tree binary; modules = [ ../../modules/fireactions ../../modules/fireteact ]; };
  lib = import (tree + "/lib");
  services = [ "fireactions" "fireteact" "microvm-base" "registry-cache" "fireactions-queue" ];
  # Keys of the server are in its own reference; here they would be there four times.
  isShown = name: builtins.match "services[.](fireactions|fireteact)[.](settings|pools[.].*[.]settings)[.].+" name == null;
  text = value:
    if value == null then null
    else if builtins.isString value then value
    else value.text or (builtins.toJSON value);
  entry = option: ''
    ### `${option.name}`

    ${lib.removeSuffix "\n" (text option.description)}

    Type: ${option.type}${lib.optionalString (option ? default) "; default: `${builtins.replaceStrings [ "\n" ] [ " " ] (text option.default)}`"}.
  '';
  of = service:
    let
      all = lib.optionAttrSetToDocList evaluated.options.services.${service};
      shown = builtins.filter (option: option.visible && !option.internal && isShown option.name && !lib.hasSuffix "_module.args" option.name) all;
      sorted = builtins.sort (a: b: a.name < b.name) shown;
    in "## `services.${service}`\n\n" + lib.concatMapStringsSep "\n" entry sorted;
in
''
  # Options of the NixOS modules

  <!-- Generated from the modules' options by `scripts/doc-nixos`. Do not edit. ${import ./options-sum.nix} -->

  `settings`, of a service and of each of its pools, takes every key of the server's configuration: [config.md](config.md) explains them.

'' + lib.concatMapStringsSep "\n" of services
