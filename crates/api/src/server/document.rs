//! What the OpenAPI document says of all operations alike: who may ask, and how any of them can fail.

use axum::http::Method;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Components, Content, OpenApi, Ref, RefOr, Response, ResponseBuilder};

use super::auth;

const TOKEN: &str = "token";
const COOKIE: &str = "cookie";

/// Errors by status: name and meaning.
const ERRORS: [(&str, &str, &str); 7] = [
    ("400", "Invalid", "The request cannot be carried out as written"),
    (
        "401",
        "Unauthorized",
        "At a TCP address that needs a token, or by a proxy: the token is missing or wrong, or the login has ended",
    ),
    (
        "403",
        "Forbidden",
        "The token's role does not allow it. With a login: the request came from another page than the server's own. At a loopback \
         address without a token: it came from another web page, by `Origin` or `Host`, or by a proxy",
    ),
    ("413", "TooLarge", "The body is too large"),
    ("500", "Internal", "Something failed inside the server"),
    (
        "503",
        "Unavailable",
        "The server cannot do it now: it is full, is stopping, or is being replaced. Try again later",
    ),
    ("504", "Timeout", "The server did not answer in time, or the request's bytes stopped coming"),
];

/// Completes the document of the routes.
pub(super) fn complete(openapi: &mut OpenApi) {
    let components = openapi.components.get_or_insert_with(Components::default);
    for (_, name, meaning) in ERRORS {
        components.responses.insert(name.to_owned(), RefOr::T(error(meaning)));
    }
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.description = Some(
        "The content of `api_token_file`, or of a file of `api_tokens`. It is required at TCP addresses if one is configured; \
         on the Unix socket, file permissions decide."
            .to_owned(),
    );
    components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer));
    let login = "A login (`POST /api/v1/session`), for people with a browser. Behind the last underscore is a name of the server's own.";
    let cookie = ApiKey::Cookie(ApiKeyValue::with_description("fireactions_session_ID", login));
    components.add_security_scheme(COOKIE, SecurityScheme::ApiKey(cookie));
    let need = |scheme| SecurityRequirement::new(scheme, [] as [&str; 0]);
    openapi.security = Some(vec![need(TOKEN), need(COOKIE), SecurityRequirement::default()]);
    for (path, item) in &mut openapi.paths.paths {
        for (method, operation) in operations(item) {
            let open = auth::is_open(&method, path);
            if open {
                operation.security = Some(Vec::new());
            }
            let reads = operation.request_body.is_some();
            let has_input = reads || operation.parameters.as_ref().is_some_and(|all| !all.is_empty());
            for (status, name, _) in ERRORS {
                let possible = match status {
                    "400" => has_input,
                    "401" => !open,
                    "413" => reads,
                    _ => true,
                };
                if possible {
                    let response = RefOr::Ref(Ref::new(format!("#/components/responses/{name}")));
                    operation.responses.responses.entry(status.to_owned()).or_insert(response);
                }
            }
        }
    }
}

fn error(meaning: &str) -> Response {
    let body = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    ResponseBuilder::new().description(meaning).content("application/json", body).build()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let all = [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}
