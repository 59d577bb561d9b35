# fireteact is fireactions: one server for all forges. Its program is there under both names.
{ runCommand, fireactions }:
runCommand "fireteact-${fireactions.version or "0"}"
{
  meta = (fireactions.meta or { }) // { mainProgram = "fireteact"; };
}
  ''
    mkdir -p $out/bin
    ln -s ${fireactions}/bin/fireactions $out/bin/fireactions
    ln -s ${fireactions}/bin/fireactions $out/bin/fireteact
  ''
