# throws: there is no profile 'runer': known are dev, / did you mean 'runners'? / correct the tag in hosts/registry.json
{ imports = (import ../../../profiles { }).getProfilesForTags [ "prod" "runer" ]; }
