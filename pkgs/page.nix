# The page that the server has in it. Its packages are those of the lock file, each by the hash that stands there.
{ lib, runCommand, fetchurl, nodejs, stdenv }:
let
  lock = lib.importJSON ../web/package-lock.json;
  nameOf = path: lib.removePrefix "node_modules/" path;
  # The tests' tools, and the compiler, which only checks.
  unneeded = name: builtins.elem name [ "playwright-core" "axe-core" "typescript" ] || lib.hasPrefix "@typescript/" name;
  # esbuild is a program; the others of its packages are for other machines.
  system = {
    os = "linux";
    cpu = { x86_64 = "x64"; aarch64 = "arm64"; }.${stdenv.buildPlatform.parsed.cpu.name};
  };
  fits = package:
    builtins.elem system.os (package.os or [ system.os ]) && builtins.elem system.cpu (package.cpu or [ system.cpu ]);
  packages = lib.filterAttrs (path: package: path != "" && !unneeded (nameOf path) && fits package) lock.packages;
  unpack = path: package:
    let
      name = nameOf path;
      tarball = fetchurl {
        url = "https://registry.npmjs.org/${name}/-/${baseNameOf name}-${package.version}.tgz";
        hash = package.integrity;
      };
    in
    ''
      mkdir -p web/${path}
      tar -xzf ${tarball} --strip-components=1 -C web/${path}
    '';
  source = lib.cleanSourceWith {
    name = "fireactions-page-source";
    src = ../web;
    filter = path: _: !builtins.elem (baseNameOf path) [ "node_modules" "dist" "generated" ".making" "tests" ];
  };
in
runCommand "fireactions-page" { nativeBuildInputs = [ nodejs ]; } ''
  cp -r ${source} web
  chmod -R u+w web
  ${lib.concatStrings (lib.mapAttrsToList unpack packages)}
  node web/tools/types.mjs ${../docs/reference/openapi.json} web/generated/api.ts
  node web/tools/build.mjs $out
''
