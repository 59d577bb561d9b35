# The service's and the socket's settings, read from the packaged units. So there is one source: what is changed there is changed
# here, with the reason beside it, and nothing can drift.
{ directory ? ../packaging/systemd
, name ? "fireactions"
, program ? "/usr/local/bin/fireactions"
, config ? "/etc/fireactions/config.yaml"
}:
let
  here = builtins.replaceStrings
    [ "/usr/local/bin/fireactions" "/etc/fireactions/config.yaml" "/bin/kill" "/run/fireactions/" ]
    [ program config "kill" "/run/${name}/" ];
  unit = import ./unit-file.nix (directory + "/fireactions.service");
  socket = import ./unit-file.nix (directory + "/fireactions.socket");
  words = value: builtins.filter (word: builtins.isString word && word != "") (builtins.split " +" value);
  all = builtins.concatMap words;
  lines = builtins.mapAttrs (_: map here);
in
{
  description = builtins.head unit.Unit.Description;
  wants = all unit.Unit.Wants;
  after = all unit.Unit.After;
  wantedBy = all unit.Install.WantedBy;
  # Each directive with all its lines. Names of directories are the service's own.
  service = lines unit.Service // {
    RuntimeDirectory = [ name ];
    StateDirectory = [ name ];
  };
  socket = lines socket.Socket;
  socketWantedBy = all socket.Install.WantedBy;
}
