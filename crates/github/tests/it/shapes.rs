//! Every shape that the published description allows is read, and the samples that are published with it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fireactions_github::webhook::{Event, parse};
use fireactions_github::{Github, JitRequest, JobStatus};
use fireactions_testkit::spec::Spec;
use serde_json::{Value, json};

use crate::common::{client, json, scope, serve, token};

const FILE: &str = "github-runners.openapi.json";

fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

async fn answering(body: Value) -> Github {
    answering_by(move |_| Some(body.clone())).await
}

async fn answering_by(body: impl Fn(&str) -> Option<Value> + Send + Sync + 'static) -> Github {
    let body = Arc::new(body);
    let url = serve(move |asked| match body(&asked.uri) {
        Some(body) => json(if asked.method == "POST" { 201 } else { 200 }, &body),
        None => json(404, &json!({"message": "Not Found"})),
    })
    .await;
    client(&url, token("t"))
}

/// Each answer at the address that ends with its number, from 0.
async fn answering_by_number(answers: Vec<Value>) -> Github {
    answering_by(move |uri| {
        let number: usize = uri.rsplit_once('/')?.1.parse().ok()?;
        answers.get(number).cloned()
    })
    .await
}

fn examples(spec: &Spec, name: &str) -> Vec<Value> {
    let all = spec.examples(&schema(name));
    assert!(all.len() > 3, "{name} has choices");
    all
}

#[tokio::test]
async fn runners_and_groups_of_every_shape() {
    let Some(spec) = Spec::find("runners_and_groups_of_every_shape", FILE) else { return };
    let runners = examples(&spec, "runner");
    let (count, busy) = (runners.len(), runners.iter().filter(|runner| runner["busy"] == true).count());
    let github = answering_by_number(runners.clone()).await;
    for (number, runner) in (0..).zip(&runners) {
        let number = fireactions_github::RunnerId::new(number);
        let read = github.runner(&scope("octo"), number).await.unwrap().unwrap();
        assert_eq!(
            (read.id.get(), read.name.as_str()),
            (runner["id"].as_u64().unwrap(), runner["name"].as_str().unwrap())
        );
        assert_eq!(read.ephemeral, runner["ephemeral"].as_bool());
        assert_eq!(read.group, runner["runner_group_id"].as_u64());
        assert_eq!(read.labels.len(), runner["labels"].as_array().unwrap().len());
    }
    let github = answering(json!({"total_count": count, "runners": runners})).await;
    let read = github.runners(&scope("octo")).await.unwrap();
    assert_eq!((read.len(), read.iter().filter(|runner| runner.busy).count()), (count, busy));
    for (name, place) in [("runner-groups-org", "octo"), ("runner-groups-enterprise", "enterprises/octo")] {
        let mut groups = examples(&spec, name);
        // A number to the description, an integer to everybody else.
        for (id, group) in groups.iter_mut().enumerate() {
            group["id"] = id.into();
        }
        let github = answering(json!({"total_count": groups.len(), "runner_groups": groups.clone()})).await;
        let read = github.runner_groups(&scope(place)).await.unwrap();
        assert_eq!(read.len(), groups.len());
        assert!(read.iter().zip(&groups).all(|(read, group)| group["default"] == read.default));
    }
}

#[tokio::test]
async fn jobs_of_every_shape() {
    let Some(spec) = Spec::find("jobs_of_every_shape", FILE) else { return };
    let jobs = examples(&spec, "job");
    let queued = jobs.iter().filter(|job| job["status"] == "queued").count();
    assert!(queued > 0 && queued < jobs.len());
    let runs = examples(&spec, "workflow-run");
    let different: BTreeSet<u64> = runs.iter().map(|run| run["id"].as_u64().unwrap()).collect();
    let first = *different.first().unwrap();
    let (all, listed, asked) = (jobs.clone(), runs.clone(), Arc::new(Mutex::new(BTreeSet::new())));
    let of_runs = Arc::clone(&asked);
    let github = answering_by(move |uri| {
        let Some((path, _)) = uri.split_once("/jobs?") else {
            return Some(json!({"total_count": listed.len(), "workflow_runs": listed}));
        };
        let run: u64 = path.rsplit_once('/')?.1.parse().ok()?;
        of_runs.lock().unwrap().insert(run);
        // All jobs are the first run's.
        let jobs = if run == first { all.as_slice() } else { &[] };
        Some(json!({"total_count": jobs.len(), "jobs": jobs}))
    })
    .await;
    let repository = "octo/app".parse().unwrap();
    let found = github.queued_jobs(&repository).await.unwrap();
    assert_eq!((found.len(), &*asked.lock().unwrap()), (queued, &different));
    assert!(found.iter().all(|job| job.status == JobStatus::Queued));
    let mut statuses = BTreeSet::new();
    let github = answering_by_number(jobs.clone()).await;
    for (n, job) in (0..).zip(jobs).filter(|(n, job)| *n < 40 || job["status"] != "queued") {
        let number = fireactions_github::JobId::new(n);
        let read = github.workflow_job(&repository, number).await.unwrap().unwrap();
        assert_eq!(read.status.as_str(), job["status"], "{n}");
        assert_eq!(read.conclusion.as_deref(), job["conclusion"].as_str());
        statuses.insert(read.status);
    }
    assert_eq!(statuses.len(), 6);
}

#[tokio::test]
async fn published_samples_of_answers() {
    let Some(spec) = Spec::find("published_samples_of_answers", FILE) else { return };
    let sample = |name: &str| spec.sample(name);
    let github = answering(sample("runner-paginated")).await;
    let runners = github.runners(&scope("octo")).await.unwrap();
    assert_eq!(
        runners.iter().map(|r| (r.id.get(), r.online, r.busy, r.labels.len())).collect::<Vec<_>>(),
        [(23, true, true, 3), (24, false, false, 4)]
    );
    let github = answering(sample("runner-groups-org")).await;
    let groups = github.runner_groups(&scope("octo")).await.unwrap();
    assert_eq!((groups[0].id, groups[0].name.as_str(), groups[0].default), (1, "Default", true));
    let github = answering(sample("runner-jitconfig")).await;
    let request = JitRequest {
        name: "New runner".into(),
        group: 1,
        labels: vec!["a".into()],
        work_folder: "_work".into(),
    };
    let jit = github.generate_jit(&scope("octo"), &request).await.unwrap();
    assert_eq!((jit.runner.id.get(), jit.config.expose()), (23, "abc123"));
    let github = answering(sample("authentication-token")).await;
    let token = github.registration_token(&scope("octo")).await.unwrap();
    assert_eq!(token.token.expose(), "LLBF3JGZDX3P5PMEXLND6TS6FCWO6");
    assert_eq!(token.expires_at, "2020-01-22T20:13:35.123Z".parse().unwrap());
    let github = answering(sample("job")).await;
    let job = github
        .workflow_job(&"octo/app".parse().unwrap(), fireactions_github::JobId::new(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((job.status, job.conclusion.as_deref()), (JobStatus::Completed, Some("success")));
}

#[test]
fn published_samples_of_deliveries() {
    let file = "github-webhook-workflow_job.examples.json";
    let Some(samples) = fireactions_testkit::spec::document("published_samples_of_deliveries", file) else {
        return;
    };
    let payloads = samples["payloads"].as_object().unwrap();
    let mut actions = Vec::new();
    for (name, payload) in payloads {
        let Event::WorkflowJob(event) = parse("workflow_job", payload.to_string().as_bytes()).unwrap() else {
            panic!("{name}")
        };
        let job = &payload["workflow_job"];
        assert_eq!(event.action, payload["action"]);
        assert_eq!(event.job.id.get(), job["id"].as_u64().unwrap());
        assert_eq!(event.job.run_id.get(), job["run_id"].as_u64().unwrap());
        assert_eq!(event.job.status.as_str(), job["status"]);
        assert_eq!(event.job.repository.to_string(), payload["repository"]["full_name"]);
        assert_eq!(event.job.runner_name.as_deref(), job["runner_name"].as_str());
        assert_eq!(json!(event.job.labels), job["labels"]);
        actions.push(event.action);
    }
    assert!(actions.len() >= 4, "{actions:?}");
}
