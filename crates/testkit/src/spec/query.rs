//! A request's query against the parameters that a description has for it.

use serde_json::Value;

use super::Spec;

impl Spec {
    /// What is wrong with a query, given as decoded pairs: parameters that are not described, values that do not fit,
    /// and those that must be there and are not.
    pub fn query_problems(&self, operation: &(String, String), query: &[(String, String)]) -> Vec<String> {
        let shared = &self.document["paths"][&operation.1]["parameters"];
        let own = &self.described(operation)["parameters"];
        let described: Vec<&Value> = [own, shared]
            .into_iter()
            .filter_map(Value::as_array)
            .flatten()
            .map(|parameter| self.resolve(parameter))
            .filter(|parameter| parameter["in"] == "query")
            .collect();
        let named = |name: &str| described.iter().find(|parameter| parameter["name"] == name);
        let mut problems = Vec::new();
        for (name, value) in query {
            match named(name) {
                None => problems.push(format!("there is no parameter {name}")),
                Some(parameter) => {
                    // In Swagger a parameter is its own schema.
                    let schema = parameter.get("schema").unwrap_or(parameter);
                    problems.extend(wrong(self.resolve(schema), name, value));
                }
            }
        }
        let missing = described.iter().filter(|parameter| {
            parameter["required"] == true && !query.iter().any(|(name, _)| parameter["name"] == *name)
        });
        problems.extend(missing.map(|parameter| format!("the parameter {} is missing", parameter["name"])));
        problems
    }
}

fn wrong(schema: &Value, name: &str, value: &str) -> Option<String> {
    let fits = match schema["type"].as_str() {
        Some("integer") => value.parse::<i64>().is_ok(),
        Some("number") => value.parse::<f64>().is_ok(),
        Some("boolean") => matches!(value, "true" | "false"),
        _ => true,
    };
    let allowed =
        schema["enum"].as_array().is_none_or(|choices| choices.iter().any(|choice| choice == value));
    (!fits || !allowed).then(|| format!("the parameter {name} cannot be {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_held_against_the_parameters() {
        let spec = Spec::parse(
            r##"{"openapi": "3.0.3", "paths": {"/runs": {"get": {"parameters": [
                {"$ref": "#/components/parameters/page"},
                {"name": "status", "in": "query", "required": true, "schema": {"type": "string", "enum": ["queued"]}}
            ]}}}, "components": {"parameters": {
                "page": {"name": "page", "in": "query", "schema": {"type": "integer"}}
            }}}"##,
        );
        let operation = ("GET".to_owned(), "/runs".to_owned());
        let problems = |query: &[(&str, &str)]| {
            let query: Vec<_> = query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            spec.query_problems(&operation, &query).len()
        };
        assert_eq!(problems(&[("status", "queued"), ("page", "2")]), 0);
        assert_eq!(problems(&[("page", "2")]), 1);
        assert_eq!(problems(&[("status", "done")]), 1);
        assert_eq!(problems(&[("status", "queued"), ("page", "two")]), 1);
        assert_eq!(problems(&[("status", "queued"), ("pages", "2")]), 1);
    }
}
