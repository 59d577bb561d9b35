# Option types from the JSON schema of the server's configuration (docs/reference/config.schema.json), so that a key that is new there
# needs no change here. What a type cannot say is left to `fireactions validate`, which reads the result when it is built.
{ lib, schema ? lib.importJSON ../docs/reference/config.schema.json }:
let
  inherit (lib) types;

  resolve = node: if node ? "$ref" then schema."$defs".${lib.removePrefix "#/$defs/" node."$ref"} // removeAttrs node [ "$ref" ] else node;
  isNull = node: node == { type = "null"; };
  # Nix's regular expressions have no look-ahead and no classes such as \s.
  isPlain = pattern: builtins.match ".*([(][?]|\\\\).*" pattern == null;

  string = node:
    if node ? pattern && isPlain node.pattern && lib.hasPrefix "^" node.pattern && lib.hasSuffix "$" node.pattern
    then types.strMatching (lib.removeSuffix "$" (lib.removePrefix "^" node.pattern))
    else types.str;

  whole = node:
    if node ? minimum && node ? maximum then types.ints.between node.minimum node.maximum
    else if node.minimum or null == 1 then types.ints.positive
    else if node ? minimum then types.ints.unsigned
    else types.int;

  simple = node: name:
    {
      string = string node;
      integer = whole node;
      number = types.number;
      boolean = types.bool;
      array = types.listOf (if node ? items then typeOf node.items else types.anything);
      object = section node;
      "null" = types.enum [ null ];
    }.${name};

  nullable = type: if type.name == "nullOr" then type else types.nullOr type;

  # A key is left out by null, whatever its type. Descriptions and examples are the schema's own.
  option = node:
    let full = resolve node; in
    lib.mkOption {
      type = nullable (typeOf node);
      default = null;
      description = (full.description or "") + lib.optionalString (full ? default && full.default != null && full.default != { })
        "\n\nWithout a value here: `${builtins.toJSON full.default}`.";
    } // lib.optionalAttrs (full ? examples) {
      example = builtins.head full.examples;
    };

  # Keys that the schema does not have are taken too: the server's own check names them, with what was probably meant.
  section = node:
    if node ? properties then
      types.submodule {
        freeformType = types.attrsOf types.anything;
        options = lib.mapAttrs (_: option) node.properties;
      }
    else if builtins.isAttrs (node.additionalProperties or null) then types.attrsOf (typeOf node.additionalProperties)
    else types.attrsOf types.anything;

  # Variants that are all sections are one section with the keys of all of them.
  together = variants: {
    properties = lib.foldl' (all: variant: all // lib.mapAttrs (name: node: if all ? ${name} then choice all.${name} node else node) (variant.properties or { })) { } variants;
  };
  choice = a: b: if a ? const && b ? const then { enum = [ a.const b.const ]; description = a.description or ""; }
    else if a ? enum && b ? const then a // { enum = a.enum ++ [ b.const ]; } else a;

  variants = nodes:
    let
      all = map resolve (builtins.filter (node: !(isNull node)) nodes);
      words = builtins.filter (node: node ? const) all;
      others = builtins.filter (node: !(node ? const)) all;
      forms = lib.optional (words != [ ]) (types.enum (map (node: node.const) words))
        ++ (if others == [ ] then [ ] else if builtins.all (node: node ? properties) others then [ (section (together others)) ] else map typeOf others);
      type = types.oneOf forms;
    in
    if builtins.any isNull nodes then types.nullOr type else type;

  typeOf = node:
    let full = resolve node; in
    if full ? enum then types.enum full.enum
    else if full ? const then types.enum [ full.const ]
    else if full ? anyOf then variants full.anyOf
    else if full ? oneOf && !(full ? properties) then variants full.oneOf
    else if builtins.isList (full.type or null) then
      let
        names = builtins.filter (name: name != "null") full.type;
        type = types.oneOf (map (simple full) names);
      in if builtins.elem "null" full.type then types.nullOr type else type
    else if full ? type then simple full full.type
    else types.anything;
in
{
  # The whole configuration, and one pool of it.
  configuration = section schema;
  pool = section (schema."$defs".PoolConfig);
}
