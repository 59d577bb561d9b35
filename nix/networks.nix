# IPv4 networks as numbers, and whether two of them overlap.
let
  number = text: builtins.fromJSON (builtins.head (builtins.match "0*([0-9]+)" text));
  power = n: if n == 0 then 1 else 2 * power (n - 1);
in
rec {
  # `{ first; last; }`, or null where it is no network.
  parse = text:
    let
      octet = "([0-9]{1,3})";
      parts = builtins.match "${octet}\\.${octet}\\.${octet}\\.${octet}/([0-9]{1,2})" text;
      numbers = map number parts;
      at = builtins.elemAt numbers;
      address = ((at 0 * 256 + at 1) * 256 + at 2) * 256 + at 3;
      size = power (32 - at 4);
      first = (address / size) * size;
      valid = at 0 < 256 && at 1 < 256 && at 2 < 256 && at 3 < 256 && at 4 <= 32;
    in
    if parts == null || !valid then null else { inherit first size; last = first + size - 1; };

  overlap = a: b:
    let x = parse a; y = parse b;
    in x != null && y != null && x.first <= y.last && y.first <= x.last;

  # The first address, which is the bridge's own.
  gateway = text:
    let
      n = (parse text).first + 1;
      part = by: toString ((n / by) - 256 * (n / by / 256));
    in "${part 16777216}.${part 65536}.${part 256}.${part 1}";

  port = address:
    let match = builtins.match ".*:([0-9]+)" address;
    in if match == null then null else number (builtins.head match);

  # Everybody can reach it: it needs a token.
  isOpen = address: builtins.match "(localhost|127\\.[0-9.]+|[[]::1[]]):[0-9]+" address == null;
}
