# The service's settings, read from the packaged unit. So there is one source: what is changed there is changed here, with the
# reason beside it, and nothing can drift.
{ unit ? ../packaging/systemd/fireactions.service
, name ? "fireactions"
, program ? "/usr/local/bin/fireactions"
, config ? "/etc/fireactions/config.yaml"
}:
let
  util = import ./util.nix;
  parse = text:
    builtins.foldl'
      (state: line:
        let
          header = builtins.match "[[]([A-Za-z]+)[]]" line;
          pair = builtins.match "([A-Za-z]+)=(.*)" line;
        in
        if line == "" || util.hasPrefix "#" line then state
        else if header != null then state // { section = builtins.head header; }
        else if pair == null then throw "packaging/systemd: this line is neither a section nor KEY=VALUE: ${line}"
        else
          let
            key = builtins.head pair;
            value = builtins.elemAt pair 1;
            before = state.sections.${state.section} or { };
          in
          state // {
            sections = state.sections // {
              ${state.section} = before // { ${key} = (before.${key} or [ ]) ++ [ value ]; };
            };
          })
      { section = ""; sections = { }; }
      (util.lines text);
  here = builtins.replaceStrings
    [ "/usr/local/bin/fireactions" "/etc/fireactions/config.yaml" "/bin/kill" ]
    [ program config "kill" ];
  sections = (parse (builtins.readFile unit)).sections;
  service = builtins.mapAttrs (_: map here) sections.Service;
  words = value: builtins.filter (word: builtins.isString word && word != "") (builtins.split " +" value);
in
{
  description = builtins.head sections.Unit.Description;
  wants = builtins.concatMap words sections.Unit.Wants;
  after = builtins.concatMap words sections.Unit.After;
  wantedBy = builtins.concatMap words sections.Install.WantedBy;
  # Each directive with all its lines. Names of directories are the service's own.
  service = service // {
    RuntimeDirectory = [ name ];
    StateDirectory = [ name ];
  };
}
