//! Both sides held to the published description.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::routes;
use crate::http::{Ask, Reply};
use crate::spec::Spec;

/// Descriptions and what was made of them; one for all fakes of a process.
struct Contract {
    rest: Spec,
    webhooks: Spec,
    validators: Mutex<BTreeMap<String, Arc<Validator>>>,
}

fn contract() -> Option<&'static Contract> {
    static CONTRACT: OnceLock<Option<Contract>> = OnceLock::new();
    let find = || {
        let rest = Spec::find("the fake GitHub's contract", "github-runners.openapi.json")?.closed();
        let webhooks = Spec::find("the fake GitHub's contract", "github-webhook-workflow_job.json")?.closed();
        Some(Contract { rest, webhooks, validators: Mutex::default() })
    };
    CONTRACT.get_or_init(find).as_ref()
}

/// Whether the descriptions are there.
pub(super) fn is_there() -> bool {
    contract().is_some()
}

impl Contract {
    fn problems(&self, key: &str, spec: &Spec, schema: &Value, value: &Value) -> Vec<String> {
        let validator = {
            let mut known = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(key.to_owned()).or_insert_with(|| Arc::new(spec.validator(schema))).clone()
        };
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    fn request(&self, operation: &(String, String), ask: &Ask) -> Vec<String> {
        let mut problems = self.rest.query_problems(operation, &ask.query);
        let key = format!("request {} {}", operation.0, operation.1);
        match (self.rest.body(operation), ask.body.is_empty(), ask.json()) {
            (None | Some((_, false)), true, _) => {}
            // Clients send an empty object where there is nothing to say.
            (None, false, Some(Value::Object(body))) if body.is_empty() => {}
            (None, false, _) => problems.push("it has a body".into()),
            (Some((_, true)), true, _) => problems.push("it has no body".into()),
            (Some(_), false, None) => problems.push("its body is not JSON".into()),
            (Some((schema, _)), false, Some(body)) => {
                problems.extend(self.problems(&key, &self.rest, schema, &body));
            }
        }
        problems
    }

    fn answer(&self, operation: &(String, String), reply: &Reply) -> Vec<String> {
        let status = reply.status.to_string();
        let answers = self.rest.answers(operation);
        let described = answers.iter().find(|(described, _)| *described == status);
        let error = json!({ "$ref": "#/components/schemas/basic-error" });
        let schema = match described {
            Some((_, schema)) => *schema,
            // What any operation may be answered with.
            None if reply.status == 304 => None,
            None if reply.status >= 301 => Some(&error),
            None => return vec![format!("the answer {status} is not described")],
        };
        let body: Option<Value> = serde_json::from_slice(&reply.body).ok();
        match (schema, body) {
            (None, _) if reply.body.is_empty() => Vec::new(),
            (None, _) => vec![format!("the answer {status} has a body")],
            (Some(_), None) => vec![format!("the answer {status} has no JSON")],
            (Some(schema), Some(body)) => {
                let name = if described.is_some() { &operation.1 } else { "any" };
                self.problems(&format!("{status} {} {name}", operation.0), &self.rest, schema, &body)
            }
        }
    }
}

/// What a request to the REST API and its answer have that the description has not. `path` is without its prefix, with
/// names in place of ids of organisations and repositories.
pub(super) fn exchange(ask: &Ask, path: &str, reply: &Reply) -> Vec<String> {
    let Some(contract) = contract() else { return Vec::new() };
    let Some(operation) = contract.rest.operation(&ask.method, path) else {
        let known = routes::is_undescribed(path);
        return if known { Vec::new() } else { vec![format!("{} {path} is not described", ask.method)] };
    };
    let mut problems = contract.answer(&operation, reply);
    // A request that is refused for what is wrong with it is no secret to its sender.
    problems.extend(contract.request(&operation, ask));
    problems.into_iter().map(|problem| format!("{} {path}: {problem}", ask.method)).collect()
}

/// What a payload has that the description of its webhook has not.
pub(super) fn payload(action: &str, payload: &Value) -> Vec<String> {
    let Some(contract) = contract() else { return Vec::new() };
    let name = format!("webhook-workflow-job-{}", action.replace('_', "-"));
    let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
    let problems = contract.problems(&name, &contract.webhooks, &schema, payload);
    problems.into_iter().map(|problem| format!("webhook {action}: {problem}")).collect()
}
