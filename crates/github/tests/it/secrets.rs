//! No secret is in anything that can be printed.

use fireactions_github::{App, Credentials, Github, JitRequest};
use fireactions_testkit::github::Fault;

use crate::common::{Octo, Source, client, json, scope, serve, settings, timeouts, token};

const MARK: &str = "s3cr3t-m4rk";

#[tokio::test]
async fn nothing_that_is_shown_has_a_secret_in_it() {
    let mut shown = Vec::new();
    let octo = Octo::new();
    let place = scope("octo");
    let jit_request =
        JitRequest { name: "fa-1".into(), group: 1, labels: vec!["a".into()], work_folder: "_work".into() };
    let jit = octo.github.generate_jit(&place, &jit_request).await.unwrap();
    let registration = octo.github.registration_token(&place).await.unwrap();
    shown.push(format!("{jit:?} {registration:?} {:?} {:?}", octo.github, octo.github.limits()));
    shown.push(format!("{:?}", octo.github.describe(&place).await));
    let real =
        [jit.config.expose().to_owned(), registration.token.expose().to_owned(), octo.key.pkcs1.clone()];

    // Every kind of failure, with a secret wherever one can be.
    let mut with_proxy = settings("http://127.0.0.1:9", token(MARK));
    with_proxy.proxy = Some(format!("http://user:{MARK}@127.0.0.1:1").parse().unwrap());
    shown.push(format!("{with_proxy:?}"));
    let unreachable = Github::with_timeouts(with_proxy, timeouts()).unwrap();
    let app = App { id: "1".into(), key: Source::new(MARK).source() };
    shown.push(format!("{app:?}"));
    let bad_key = client(&octo.fake.url(), Credentials::Apps(vec![app]));
    let bad_token = client(&octo.fake.url(), token(&format!("{MARK}\r\nx: y")));
    let odd_answers: Vec<Github> = {
        let bodies = [
            serde_json::json!({"runner": {"id": MARK}, "encoded_jit_config": MARK, "token": MARK}),
            serde_json::json!([MARK]),
            serde_json::json!({"token": MARK, "expires_at": MARK}),
        ];
        let mut clients = Vec::new();
        for body in bodies {
            let url = serve(move |_| json(201, &body)).await;
            clients.push(client(&url, token(MARK)));
        }
        for status in [301, 401, 403, 404, 409, 422, 500] {
            let url = serve(move |_| json(status, &serde_json::json!({"message": "no"}))).await;
            clients.push(client(&url, token(MARK)));
        }
        clients
    };
    for github in [unreachable, bad_key, bad_token].iter().chain(&odd_answers) {
        let errors = [
            github.runners(&place).await.unwrap_err(),
            github.generate_jit(&place, &jit_request).await.unwrap_err(),
            github.registration_token(&place).await.unwrap_err(),
        ];
        shown.push(format!("{:?}", github.describe(&place).await));
        for error in errors {
            shown.push(format!("{error} {error:?} {github:?}"));
        }
    }
    octo.fake.fault(Fault::on("GET", "/orgs/octo/actions/runners").lost_answer().times(100));
    let error = octo.github.runners(&place).await.unwrap_err();
    shown.push(format!("{error} {error:?}"));

    for text in shown {
        assert!(!text.contains(MARK), "{text}");
        for secret in &real {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
        assert!(!text.contains("ghs_") && !text.contains("Bearer") && !text.contains("eyJ"), "{text}");
    }
}
