# Small things that builtins lack. Everything in this directory but schema.nix, flake parts and packages is written with builtins
# alone, so that it can be evaluated without nixpkgs.
rec {
  optional = condition: value: if condition then [ value ] else [ ];

  # Without the keys whose value is null, at every depth.
  withoutNulls = value:
    if builtins.isAttrs value && !(value ? outPath) then
      builtins.listToAttrs (builtins.concatMap
        (name: optional (value.${name} != null) { inherit name; value = withoutNulls value.${name}; })
        (builtins.attrNames value))
    else if builtins.isList value then map withoutNulls value
    else value;

  # What `over` has wins; sections are merged key by key, lists are replaced.
  merge = under: over:
    if builtins.isAttrs under && builtins.isAttrs over && !(over ? outPath) then
      under // builtins.mapAttrs (name: value: if under ? ${name} then merge under.${name} value else value) over
    else over;

  hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;

  # A file that is readable for everybody who can log in.
  inStore = file:
    builtins.isPath file || hasPrefix (toString builtins.storeDir) (toString file) || hasPrefix "/nix/store/" (toString file);

  lines = text: builtins.filter builtins.isString (builtins.split "\n" text);

  # The values that are there more than once, each once.
  twice = list:
    builtins.attrNames (builtins.listToAttrs (builtins.concatMap
      (value: optional (builtins.length (builtins.filter (other: other == value) list) > 1) { name = value; value = null; })
      list));

  # The word of a list that `wrong` was probably meant to be: the most letters in common, at the same place or one beside it.
  nearest = wrong: known:
    let
      letters = word: builtins.genList (n: builtins.substring n 1 word) (builtins.stringLength word);
      longest = a: b: if a > b then a else b;
      common = word:
        let
          theirs = letters word;
          at = n: if n >= 0 && n < builtins.length theirs then builtins.elemAt theirs n else "";
          mine = letters wrong;
          hit = n: let letter = builtins.elemAt mine n; in letter == at n || letter == at (n - 1) || letter == at (n + 1);
        in builtins.length (builtins.filter hit (builtins.genList (n: n) (builtins.length mine)));
      score = word: 2 * common word - longest (builtins.stringLength word) (builtins.stringLength wrong);
      better = best: word: if best == null || score word > score best then word else best;
      found = builtins.foldl' better null known;
    in if found != null && score found > 0 then found else null;

  didYouMean = wrong: known: let word = nearest wrong known; in if word == null then "" else "; did you mean '${word}'?";
}
