//! Logins by a real provider of OpenID Connect: the way there and back as a browser goes it, behind a path prefix.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use fireactions_api::*;
use fireactions_model::Secret;
use fireactions_oidc::{Provider, Settings};
use fireactions_testkit::oidc_provider::{self, OidcProvider};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;

use crate::common::Fake;
use crate::session::{Answer, ask};

const PAGE: &str = "https://ci.example/fire/";
const CALLBACK: &str = "https://ci.example/fire/api/v1/session/oidc/callback";
/// What a proxy in front says.
const BY_TLS: (&str, &str) = ("x-forwarded-proto", "https");

fn settings(provider: &OidcProvider) -> Settings {
    Settings {
        issuer: provider.issuer.parse().unwrap(),
        client_id: "fire:actions".to_owned(),
        client_secret: Some(Secret::new("s3cret+of/the=client")),
        scopes: vec!["profile".to_owned(), "groups".to_owned()],
        groups_claim: "groups".to_owned(),
        redirect: Oidc::redirect(&PAGE.parse().unwrap()),
        ca_pem: None,
    }
}

fn api_of(settings: Settings, groups: &[(&str, Role)]) -> Api {
    let identity = format!("{} {}", settings.issuer, settings.client_id);
    let groups: BTreeMap<_, _> = groups.iter().map(|(group, role)| ((*group).to_owned(), *role)).collect();
    let provider = Provider::new(settings).unwrap();
    let oidc = Oidc { provider, name: "Acme".to_owned(), groups, page: PAGE.parse().unwrap(), identity };
    Api::new(Fake::new(), Limits::default()).with_keys(Vec::new(), None).with_oidc(oidc)
}

fn api(provider: &OidcProvider) -> Api {
    api_of(
        settings(provider),
        &[("developers", Role::Viewer), ("operations", Role::Admin), ("nobody", Role::Admin)],
    )
}

/// The cookie of this name that an answer sets, and what stands behind it.
fn set(answer: &Answer, name: &str) -> (String, String) {
    let all = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let mut named = all.filter_map(|value| value.split_once(';')).filter(|(pair, _)| pair.starts_with(name));
    let (pair, rest) = named.next().unwrap_or_else(|| panic!("no {name} in {:?}", answer.headers));
    (pair.to_owned(), rest.to_owned())
}

/// A login that has begun: the browser's cookie, and where the provider has sent it back to, below the page.
struct Begun {
    cookie: String,
    back: String,
}

/// To the provider, where somebody logs in, and until it sends the browser back.
async fn begin(api: &Api, who: &str) -> Begun {
    let answer = ask(api, Auth::Token, "GET /api/v1/session/oidc", &[BY_TLS], None).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let (cookie, rest) = set(&answer, "fireactions_login=");
    assert!(rest.contains("HttpOnly") && rest.contains("SameSite=Lax") && rest.contains("Secure"), "{rest}");
    let mut to = answer.headers["location"].to_str().unwrap().to_owned();
    assert!(to.contains("code_challenge_method=S256") && to.contains("&nonce="), "{to}");
    let browser = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let mut jar = BTreeMap::new();
    while !to.starts_with(CALLBACK) {
        if to.contains("/interaction/") {
            to = format!("{to}?as={who}");
        }
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = browser.get(&to).header(COOKIE, cookies.join("; ")).send().await.unwrap();
        for one in answer.headers().get_all(SET_COOKIE) {
            let (name, value) = one.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            jar.insert(name.to_owned(), value.to_owned());
        }
        let next = answer.headers().get(LOCATION).map(|to| to.to_str().unwrap().to_owned());
        let Some(next) = next else { panic!("{to}: {}: {}", answer.status(), answer.text().await.unwrap()) };
        to = reqwest::Url::parse(&to).unwrap().join(&next).unwrap().to_string();
    }
    Begun { cookie, back: to.replacen("https://ci.example/fire", "", 1) }
}

async fn come_back(api: &Api, back: &str, cookie: &str) -> Answer {
    ask(api, Auth::Token, &format!("GET {back}"), &[BY_TLS, ("cookie", cookie)], None).await
}

/// All the way: the cookie of the login.
async fn log_in(api: &Api, who: &str) -> String {
    let Begun { cookie, back } = begin(api, who).await;
    let answer = come_back(api, &back, &cookie).await;
    assert_eq!((answer.status, answer.headers["location"].to_str().unwrap()), (303, PAGE), "{}", answer.body);
    let (login, rest) = set(&answer, "fireactions_session_");
    assert!(
        rest.contains("HttpOnly") && rest.contains("SameSite=Strict") && rest.contains("Secure"),
        "{rest}"
    );
    assert!(set(&answer, "fireactions_login=").1.contains("Max-Age=0"));
    login
}

async fn who(api: &Api, cookie: &str) -> (String, Role, Via) {
    let answer = ask(api, Auth::Token, "GET /api/v1/session", &[("cookie", cookie)], None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let Session { name, role, via, login } = serde_json::from_str(&answer.body).unwrap();
    assert!(login);
    (name, role, via)
}

#[tokio::test]
async fn people_come_in_with_the_highest_role_of_their_groups() {
    let Some(packages) = oidc_provider::available("people_come_in_with_the_highest_role_of_their_groups")
    else {
        return;
    };
    let provider = OidcProvider::start(&packages, CALLBACK, false);
    let api = api(&provider);
    let ways = ask(&api, Auth::Token, "GET /api/v1/session/ways", &[], None).await;
    assert_eq!(ways.body, r#"{"token":false,"oidc":"Acme"}"#);
    let anna = log_in(&api, "anna").await;
    assert_eq!(who(&api, &anna).await, ("oidc:anna".to_owned(), Role::Admin, Via::Cookie));
    let bert = log_in(&api, "bert").await;
    assert_eq!(who(&api, &bert).await, ("oidc:bert".to_owned(), Role::Viewer, Via::Cookie));
    let own = [("cookie", bert.as_str()), ("origin", "https://ci.example")];
    let refused = ask(&api, Auth::Token, "POST /api/v1/pools/default/pause", &own, None).await;
    assert!(
        refused.status == 403 && refused.body.contains("'oidc:bert' has the role viewer"),
        "{}",
        refused.body
    );
    // As any other login: no page of somebody else, and out is out.
    let foreign = [("cookie", anna.as_str()), ("origin", "https://evil.example")];
    assert_eq!(ask(&api, Auth::Token, "DELETE /api/v1/session", &foreign, None).await.status, 403);
    let own = [("cookie", anna.as_str()), ("origin", "https://ci.example")];
    assert_eq!(ask(&api, Auth::Token, "DELETE /api/v1/session", &own, None).await.status, 204);
    assert_eq!(ask(&api, Auth::Token, "GET /api/v1/session", &own, None).await.status, 401);
}

#[tokio::test]
async fn who_is_in_no_group_stays_out_and_is_told_so() {
    let Some(packages) = oidc_provider::available("who_is_in_no_group_stays_out_and_is_told_so") else {
        return;
    };
    let provider = OidcProvider::start(&packages, CALLBACK, false);
    let api = api(&provider);
    let Begun { cookie, back } = begin(&api, "carl").await;
    let answer = come_back(&api, &back, &cookie).await;
    assert_eq!(answer.status, 403);
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert!(
        answer.body.starts_with("Acme knows you as oidc:carl, and none of your groups may use"),
        "{}",
        answer.body
    );
    // The provider's own no.
    let Begun { cookie, back } = begin(&api, "nobody").await;
    let answer = come_back(&api, &back, &cookie).await;
    assert_eq!(answer.status, 401);
    assert!(answer.body.contains("access_denied not today"), "{}", answer.body);
    assert!(answer.headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn only_the_browser_that_has_begun_a_login_ends_it_and_once() {
    let Some(packages) = oidc_provider::available("only_the_browser_that_has_begun_a_login_ends_it_and_once")
    else {
        return;
    };
    let provider = OidcProvider::start(&packages, CALLBACK, false);
    let api = api(&provider);
    let (mine, yours) = (begin(&api, "anna").await, begin(&api, "anna").await);
    // A login that somebody else has begun, and one whose answer was changed on the way.
    let changed = mine.back.replacen("state=", "state=x", 1);
    for (back, cookie) in [(&mine.back, "x=y"), (&mine.back, &yours.cookie), (&changed, &mine.cookie)] {
        let answer = come_back(&api, back, cookie).await;
        assert_eq!(answer.status, 401);
        assert!(
            answer.body.contains("not the end of a login that this browser has begun"),
            "{}",
            answer.body
        );
    }
    // Any page can make its visitors' browsers ask that, so nobody is kept out by it.
    for _ in 0..10 {
        assert_eq!(come_back(&api, &mine.back, "x=y").await.status, 401);
    }
    assert_eq!(come_back(&api, &mine.back, &mine.cookie).await.status, 303);
    // Whoever has begun a login and guesses its code: another browser of the same address waits, too.
    let guessed = yours.back.replacen("code=", "code=x", 1);
    for _ in 0..4 {
        assert_eq!(come_back(&api, &guessed, &yours.cookie).await.status, 401);
    }
    let wait = come_back(&api, &yours.back, &yours.cookie).await;
    assert!(wait.status == 429 && wait.headers.contains_key("retry-after"), "{}", wait.body);
}

#[tokio::test]
async fn what_the_provider_signs_is_for_one_login_alone() {
    let Some(packages) = oidc_provider::available("what_the_provider_signs_is_for_one_login_alone") else {
        return;
    };
    let provider = OidcProvider::start(&packages, CALLBACK, false);
    let api = api(&provider);
    let parts = |begun: &Begun| -> Vec<String> {
        begun.cookie.split_once('=').unwrap().1.split('.').map(ToOwned::to_owned).collect()
    };
    let other = parts(&begin(&api, "anna").await);
    // The nonce of another login: the provider does not mind, we do. The verifier of another one: the provider does.
    for (nonce, verifier, why) in [(true, false, "from another login"), (false, true, "invalid_grant")] {
        let begun = begin(&api, "anna").await;
        let own = parts(&begun);
        let pick = |foreign: bool, index: usize| if foreign { &other[index] } else { &own[index] };
        let cookie = format!("fireactions_login={}.{}.{}", own[0], pick(nonce, 1), pick(verifier, 2));
        let answer = come_back(&api, &begun.back, &cookie).await;
        assert!(answer.status == 401 && answer.body.contains(why), "{why}: {}", answer.body);
    }
    // An answer that is shown twice.
    let begun = begin(&api, "anna").await;
    assert_eq!(come_back(&api, &begun.back, &begun.cookie).await.status, 303);
    let again = come_back(&api, &begun.back, &begun.cookie).await;
    assert!(again.status == 401 && again.body.contains("invalid_grant"), "{}", again.body);
}

#[tokio::test]
async fn groups_that_are_told_beside_the_token_and_a_client_without_a_secret() {
    let test = "groups_that_are_told_beside_the_token_and_a_client_without_a_secret";
    let Some(packages) = oidc_provider::available(test) else { return };
    let provider = OidcProvider::start(&packages, CALLBACK, true);
    let public = Settings { client_id: "public".to_owned(), client_secret: None, ..settings(&provider) };
    let api = api_of(public, &[("developers", Role::Operator)]);
    let anna = log_in(&api, "anna").await;
    assert_eq!(who(&api, &anna).await, ("oidc:anna".to_owned(), Role::Operator, Via::Cookie));
    // Another client's secret, and another provider's name.
    let wrong = Settings { client_secret: Some(Secret::new("hunter2")), ..settings(&provider) };
    let api = api_of(wrong, &[("developers", Role::Operator)]);
    let begun = begin(&api, "anna").await;
    let answer = come_back(&api, &begun.back, &begun.cookie).await;
    assert!(answer.status == 401 && answer.body.contains("invalid_client"), "{}", answer.body);
    let port = provider.issuer.rsplit(':').next().unwrap();
    let renamed =
        Settings { issuer: format!("http://localhost:{port}").parse().unwrap(), ..settings(&provider) };
    let answer =
        ask(&api_of(renamed, &[("a", Role::Admin)]), Auth::Token, "GET /api/v1/session/oidc", &[], None)
            .await;
    assert!(answer.status == 503 && answer.body.contains("it is another's"), "{}", answer.body);
    drop(provider);
    // What is known of it is enough to go there; a new server cannot.
    let gone = settings_of_nobody();
    let answer =
        ask(&api_of(gone, &[("a", Role::Admin)]), Auth::Token, "GET /api/v1/session/oidc", &[], None).await;
    assert!(answer.status == 503 && answer.body.contains("cannot be reached"), "{}", answer.body);
}

/// Of a provider that is not there.
fn settings_of_nobody() -> Settings {
    let port = fireactions_testkit::port::ReservedPort::new(([127, 0, 0, 1], 0).into());
    Settings {
        issuer: format!("http://{}", port.address()).parse().unwrap(),
        client_id: "x".to_owned(),
        client_secret: None,
        scopes: Vec::new(),
        groups_claim: "groups".to_owned(),
        redirect: CALLBACK.parse().unwrap(),
        ca_pem: None,
    }
}

#[tokio::test]
async fn without_a_provider_nobody_is_sent_anywhere() {
    let key = Key { name: "a".into(), role: Role::Viewer, token: Token::new("0123456789abcdef").unwrap() };
    let api = Api::new(Fake::new(), Limits::default()).with_keys(vec![key], None);
    let ways = ask(&api, Auth::Token, "GET /api/v1/session/ways", &[], None).await;
    assert_eq!((ways.status, ways.body.as_str()), (200, r#"{"token":true}"#));
    for path in ["/api/v1/session/oidc", "/api/v1/session/oidc/callback?code=a&state=b"] {
        let answer = ask(&api, Auth::Token, &format!("GET {path}"), &[], None).await;
        assert_eq!(answer.status, 404, "{}", answer.body);
    }
}
