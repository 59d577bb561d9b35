//! Apps, installations and tokens.

use fireactions_testkit::github::FakeGithub;
use jiff::SignedDuration;
use serde_json::json;

use super::client::{Client, app, assert_clean, installation, jwt};

#[tokio::test]
async fn an_app_finds_its_installations_and_gets_tokens() {
    let fake = FakeGithub::local();
    fake.repository("octo/app");
    let key = fake.app("runners");
    let id = fake.install_fully(key.id, "octo");
    let me = app(&fake, &key);
    let about = me.get("/app").await;
    assert_eq!((about.status, &about.body["slug"]), (200, &json!("runners")));
    assert_eq!(about.body["events"], json!(["workflow_job"]));
    for path in ["/orgs/octo/installation", "/repos/Octo/APP/installation"] {
        let found = me.get(path).await;
        assert_eq!((found.status, &found.body["id"]), (200, &json!(id)), "{path}");
        assert_eq!(found.body["permissions"]["organization_self_hosted_runners"], "write");
    }
    assert_eq!(me.get("/app/installations").await.body[0]["id"], id);
    assert_eq!(me.get("/orgs/nobody/installation").await.status, 404);

    let client = installation(&fake, &key, id).await;
    assert_eq!(client.get("/orgs/octo/actions/runners").await.status, 200);
    let repositories = client.get("/installation/repositories").await;
    assert_eq!(repositories.body["repositories"][0]["full_name"], "octo/app");
    assert_eq!(client.get("/orgs/octo/repos").await.body[0]["name"], "app");
    assert_eq!(
        client.get("/orgs/octo/actions/runner-groups").await.body["runner_groups"][0]["default"],
        true
    );
    assert_eq!(client.get("/app").await.status, 401);
    assert_clean(&fake);
}

#[tokio::test]
async fn a_jwt_is_judged_by_signature_and_times() {
    let fake = FakeGithub::local();
    fake.organization("octo");
    let key = fake.app("runners");
    let status =
        async |token: String| Client::new(&fake, Some(format!("Bearer {token}"))).get("/app").await.status;
    assert_eq!(status(jwt(&fake, &key, -60, 480)).await, 200);
    assert_eq!(status(jwt(&fake, &key, 30, 480)).await, 401, "made in the future");
    assert_eq!(status(jwt(&fake, &key, -60, 660)).await, 401, "good for too long");
    assert_eq!(status(jwt(&fake, &key, -60, -1)).await, 401, "over");
    let mut forged = jwt(&fake, &key, -60, 480);
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    assert_eq!(status(forged).await, 401);
    let new = fake.rotate_key(key.id);
    assert_eq!(status(jwt(&fake, &key, -60, 480)).await, 401, "the old key");
    assert_eq!(status(jwt(&fake, &new, -60, 480)).await, 200);
    // A client whose clock is ten minutes ahead of GitHub's.
    let token = jwt(&fake, &new, -60, 480);
    fake.set_clock_offset(SignedDuration::from_mins(-10));
    let refused = Client::new(&fake, Some(format!("Bearer {token}"))).get("/app").await;
    assert_eq!(refused.status, 401);
    let date = jiff::fmt::rfc2822::parse(refused.header("date")).unwrap().timestamp();
    assert!(date.duration_since(fake.now()).abs() < SignedDuration::from_secs(60), "{date}");
    assert_clean(&fake);
}

#[tokio::test]
async fn tokens_run_out_are_revoked_and_know_their_permissions() {
    let fake = FakeGithub::local();
    fake.repository("octo/app");
    fake.repository("octo/other");
    let key = fake.app("runners");
    let id =
        fake.install(key.id, "octo", &[("organization_self_hosted_runners", "read"), ("actions", "read")]);
    let client = installation(&fake, &key, id).await;
    assert_eq!(client.get("/orgs/octo/actions/runners").await.status, 200);
    assert_eq!(client.jit("/orgs/octo", "r", &["a"]).await.status, 403);
    assert_eq!(client.get("/repos/octo/app/actions/runners").await.status, 403);
    fake.select_repositories(id, &["octo/other"]);
    let narrow = installation(&fake, &key, id).await;
    assert_eq!(narrow.get("/repos/octo/app/actions/runs").await.status, 404);
    assert_eq!(narrow.get("/repos/octo/other/actions/runs").await.status, 200);
    assert_eq!(app(&fake, &key).get("/repos/octo/app/installation").await.status, 404);

    fake.set_clock_offset(SignedDuration::from_mins(61));
    assert_eq!(client.get("/orgs/octo/actions/runners").await.status, 401);
    let client = installation(&fake, &key, id).await;
    fake.revoke_tokens();
    assert_eq!(client.get("/orgs/octo/actions/runners").await.status, 401);
    let client = installation(&fake, &key, id).await;
    assert_eq!(client.delete("/installation/token").await.status, 204);
    assert_eq!(client.get("/orgs/octo/actions/runners").await.status, 401);
    fake.suspend(id, true);
    let path = format!("/app/installations/{id}/access_tokens");
    assert_eq!(app(&fake, &key).post(&path, None).await.status, 403);
    fake.suspend(id, false);
    let asks = json!({"permissions": {"administration": "write"}});
    assert_eq!(app(&fake, &key).post(&path, Some(&asks)).await.status, 422);
    fake.uninstall(id);
    assert_eq!(app(&fake, &key).post(&path, None).await.status, 404);
    assert_clean(&fake);
}

#[tokio::test]
async fn an_enterprise_takes_a_personal_token() {
    let fake = FakeGithub::local();
    fake.set_lists_behind(std::time::Duration::ZERO);
    fake.enterprise("big", &["octo"]);
    let token = fake.personal_token(&["manage_runners:enterprise"]);
    let client = Client::new(&fake, Some(format!("token {token}")));
    assert_eq!(client.jit("/enterprises/big", "r1", &["linux"]).await.status, 201);
    assert_eq!(client.get("/enterprises/big/actions/runners").await.body["total_count"], 1);
    assert_eq!(client.get("/enterprises/big/actions/runner-groups").await.status, 200);
    assert_eq!(client.get("/orgs/octo/actions/runners").await.status, 403);
    fake.revoke_personal_token(&token);
    assert_eq!(client.get("/enterprises/big/actions/runners").await.status, 401);
    assert_clean(&fake);
}
