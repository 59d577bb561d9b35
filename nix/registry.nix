# hosts/registry.json → hosts. `fireactions host` writes the file, and people do. What is wrong with it is said with the host's name.
#   text      the file's content
#   file      its name, for messages
let
  util = import ./util.nix;
  providers = import ./providers.nix;
in
rec {
  read = file: if builtins.pathExists file then parse { text = builtins.readFile file; file = "hosts/registry.json"; } else { };

  parse = { text, file ? "hosts/registry.json" }:
    let
      fail = why: throw "${file}: ${why}";
      json = if builtins.match "[[:space:]]*[{].*[}][[:space:]]*" text == null
        then fail "this is no JSON object, {\"NAME\": {\"hostname\": …}, …}; it may have been cut off. Mend it, or take the last good one: git checkout -- ${file}"
        # Nix says what is wrong, and this with it in newer versions.
        else builtins.addErrorContext "while reading ${file}; mend it, or take the last good one: git checkout -- ${file}" (builtins.fromJSON text);
    in
    if json ? version && !builtins.isAttrs json.version
    then fail "this is a registry of another version (\"version\": ${builtins.toJSON json.version}); use the version of fireactions that wrote it"
    else builtins.mapAttrs
      (name: host:
        let of = why: fail "host '${name}': ${why}"; in
        if builtins.match "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?" name == null then of "the name is no host name; use letters, digits and -"
        else if !builtins.isAttrs host then of "it is no object: {\"hostname\": …}"
        else if !builtins.isString (host.hostname or null) then of "it has no \"hostname\", the address to reach it at"
        else
          let full = {
            provider = "generic";
            system = "x86_64-linux";
            tags = [ ];
            targetUser = "root";
            buildOnTarget = true;
          } // host; in
          if !builtins.elem full.system [ "x86_64-linux" "aarch64-linux" ]
          then of "its system is '${full.system}'; known are x86_64-linux, aarch64-linux"
          else if !builtins.isList full.tags || !builtins.all builtins.isString full.tags then of "its \"tags\" are no list of words"
          else if full.provider == "do" && full.system == "aarch64-linux" then of "DigitalOcean has no aarch64 hosts; correct its provider or its system"
          else full // { platform = providers.${full.provider} or providers.generic; })
      json;

  # The host of a file in hosts/ that has no entry.
  orphans = { hosts, files }:
    map (file: "hosts/${file}: hosts/registry.json has no host '${builtins.head (builtins.match "(.*)[.]nix" file)}'${util.didYouMean (builtins.head (builtins.match "(.*)[.]nix" file)) (builtins.attrNames hosts)}; register it (fireactions host register), or remove the file")
      (builtins.filter
        (file: let name = builtins.match "([^_.].*)[.]nix" file; in name != null && name != [ "default" ] && !(hosts ? ${builtins.head name}))
        files);
}
