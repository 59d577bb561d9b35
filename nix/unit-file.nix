# A unit file → `{ SECTION = { KEY = [ VALUE … ]; }; }`. Comments go; each line of a key is one value.
file:
let
  util = import ./util.nix;
  add = state: line:
    let
      header = builtins.match "[[]([A-Za-z]+)[]]" line;
      pair = builtins.match "([A-Za-z]+)=(.*)" line;
      key = builtins.head pair;
      before = state.sections.${state.section} or { };
    in
    if line == "" || util.hasPrefix "#" line then state
    else if header != null then state // { section = builtins.head header; }
    else if pair == null then throw "${baseNameOf file}: this line is neither a section nor KEY=VALUE: ${line}"
    else state // {
      sections = state.sections // {
        ${state.section} = before // { ${key} = (before.${key} or [ ]) ++ [ (builtins.elemAt pair 1) ]; };
      };
    };
in
(builtins.foldl' add { section = ""; sections = { }; } (util.lines (builtins.readFile file))).sections
