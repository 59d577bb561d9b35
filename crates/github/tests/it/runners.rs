//! Runners and groups.

use fireactions_github::{Deleted, Error, JitRequest, RunnerId};
use fireactions_testkit::github::{Fault, Scope as At};
use jiff::Timestamp;

use crate::common::{Octo, assert_clean, scope};

fn request(name: &str) -> JitRequest {
    JitRequest { name: name.into(), group: 1, labels: vec!["gpu".into()], work_folder: "_work".into() }
}

#[tokio::test]
async fn a_runner_is_registered_listed_and_removed() {
    let octo = Octo::new();
    for place in ["octo", "octo/app"] {
        let place = scope(place);
        let jit = octo.github.generate_jit(&place, &request("fa-1")).await.unwrap();
        assert!(!jit.config.expose().is_empty());
        assert_eq!((jit.runner.name.as_str(), jit.runner.online, jit.runner.busy), ("fa-1", false, false));
        assert!(jit.runner.labels.iter().any(|label| label == "gpu"), "{:?}", jit.runner.labels);
        let taken = octo.github.generate_jit(&place, &request("fa-1")).await.unwrap_err();
        assert_eq!(taken, Error::NameTaken { name: "fa-1".into() });
        let listed = octo.github.runners(&place).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(octo.github.runner(&place, jit.runner.id).await.unwrap().as_ref(), Some(&listed[0]));
        for _ in 0..2 {
            assert_eq!(octo.github.delete_runner(&place, jit.runner.id).await.unwrap(), Deleted::Gone);
        }
        assert_eq!(octo.github.runner(&place, jit.runner.id).await.unwrap(), None);
        assert_eq!(octo.github.runners(&place).await.unwrap(), []);
    }
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn lists_are_read_to_their_last_page() {
    let octo = Octo::new();
    for n in 0..250 {
        octo.fake.jit_config(&At::Organization("octo".into()), &format!("r{n:03}"), &["linux"]);
    }
    let mut names: Vec<String> =
        octo.github.runners(&scope("octo")).await.unwrap().into_iter().map(|runner| runner.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 250);
    assert_eq!(octo.fake.calls().total, 2 + 3, "whose credential it is, and three pages");
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn groups() {
    let octo = Octo::new();
    let id = octo.fake.runner_group(&At::Organization("octo".into()), "large");
    let groups = octo.github.runner_groups(&scope("octo")).await.unwrap();
    assert_eq!(groups.iter().filter(|group| group.default).count(), 1);
    assert!(groups.iter().any(|group| group.id == id && group.name == "large" && !group.default));
    assert_eq!(octo.github.runner_groups(&scope("octo/app")).await.unwrap(), []);
    assert!(groups.iter().all(|group| !group.is_selective() && !group.takes_public()));
    let place = At::Organization("octo".into());
    octo.fake.select_group_repositories(&place, id, &["octo/app"]);
    octo.fake.allow_public_repositories(&place, id);
    let groups = octo.github.runner_groups(&scope("octo")).await.unwrap();
    let large = groups.iter().find(|group| group.id == id).unwrap();
    assert!(large.is_selective() && large.takes_public());
    let selected = octo.github.group_repositories(&scope("octo"), id).await.unwrap();
    assert_eq!(selected, ["octo/app".parse().unwrap()]);
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_runner_with_a_job_stays() {
    let octo = Octo::new();
    let busy =
        r#"{"message":"Bad request - Runner \"fa-1\" is currently running a job and cannot be deleted."}"#;
    octo.fake.fault(Fault::on("DELETE", "/orgs/octo/actions/runners/*").answer(422, &[], busy));
    let deleted = octo.github.delete_runner(&scope("octo"), RunnerId::new(1)).await.unwrap();
    assert_eq!(deleted, Deleted::Busy);
}

#[tokio::test]
async fn what_github_refuses_is_said_in_its_words() {
    let octo = Octo::new();
    let none = JitRequest { labels: vec![], ..request("fa-1") };
    let answer = r#"{"message":"Validation Failed","errors":["labels is too short"]}"#;
    octo.fake.fault(Fault::on("POST", "/orgs/octo/actions/runners/generate-jitconfig").answer(
        422,
        &[],
        answer,
    ));
    let error = octo.github.generate_jit(&scope("octo"), &none).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot register runner 'fa-1' at octo: GitHub refuses the request: Validation Failed: labels is too short"
    );
}

#[tokio::test]
async fn a_registration_token() {
    let octo = Octo::new();
    let token = octo.github.registration_token(&scope("octo/app")).await.unwrap();
    assert!(!token.token.expose().is_empty());
    assert!(token.expires_at > Timestamp::now());
    assert_clean(&octo.fake);
}
