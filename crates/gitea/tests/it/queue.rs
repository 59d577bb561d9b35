//! The queue, long and in motion, and what becomes of a job.

use std::sync::{Arc, Mutex};

use fireactions_gitea::{Conclusion, JobStatus, Kind, MAX_JOBS};
use serde_json::{Value, json};

use crate::common::{Log, client, job, reply, scope, scripted, serve_version, status};

fn gitea_job(id: u64) -> Value {
    json!({
        "id": id, "url": format!("http://other/api/v1/repos/acme/app/actions/jobs/{id}"), "html_url": "", "run_id": id,
        "name": "build", "labels": ["a"], "run_attempt": 0, "status": "queued", "steps": [],
        "created_at": "2026-11-29T00:55:17Z", "started_at": "1970-01-01T00:00:00Z", "completed_at": "1970-01-01T00:00:00Z",
    })
}

/// A Gitea with these jobs, which gives `cap` on a page; `before` changes them before each page.
async fn queue(
    jobs: Vec<u64>,
    cap: usize,
    before: impl Fn(usize, &mut Vec<u64>) + Send + Sync + 'static,
) -> fireactions_gitea::Gitea {
    let state = Mutex::new((0, jobs));
    scripted(Kind::Gitea, move |asked| {
        let (fetches, jobs) = &mut *state.lock().unwrap();
        before(*fetches, jobs);
        *fetches += 1;
        let limit = cap.min(asked.param("limit").unwrap().parse().unwrap());
        let page = jobs.iter().skip((asked.page() - 1) * limit).take(limit);
        let page: Vec<Value> = page.map(|id| gitea_job(*id)).collect();
        reply(200, &json!({"jobs": page, "total_count": jobs.len()}))
    })
    .await
}

#[tokio::test]
async fn five_thousand_jobs() {
    for (cap, calls) in [(50, 100), (30, 167), (10, 500)] {
        let gitea = queue((1..=5_000).collect(), cap, |_, _| ()).await;
        let found = gitea.jobs(&scope("orgs/acme"), &[]).await.unwrap();
        assert_eq!((found.len(), found[0].id.get(), found[4_999].id.get()), (5_000, 1, 5_000));
        assert_eq!(gitea.calls(), 2 * calls + 1, "twice, as nothing is new then, and the version");
    }
}

#[tokio::test]
async fn a_queue_is_read_up_to_a_bound() {
    let gitea = queue((1..=20_000).collect(), 50, |_, _| ()).await;
    let found = gitea.jobs(&scope("instance"), &[]).await.unwrap();
    assert_eq!((found.len(), found[0].id.get()), (MAX_JOBS, 1));
    assert_eq!(gitea.calls(), 201);
}

#[tokio::test]
async fn jobs_that_end_while_pages_are_read_hide_no_other() {
    // Of the first pages one job ends before each fetch.
    let end = |fetch: usize, jobs: &mut Vec<u64>| {
        if (1..6).contains(&fetch) {
            jobs.remove(0);
        }
    };
    let gitea = queue((1..=300).collect(), 50, end).await;
    let found = gitea.jobs(&scope("orgs/acme"), &[]).await.unwrap();
    let missing: Vec<u64> = (6..=300).filter(|id| !found.iter().any(|job| job.id.get() == *id)).collect();
    assert_eq!(missing, Vec::<u64>::new(), "none that waited all the time is missing");
}

#[tokio::test]
async fn a_queue_of_forgejo_comes_whole_and_newest_first() {
    let forgejo = scripted(Kind::Forgejo, |asked| {
        assert_eq!((asked.path.as_str(), asked.query.len()), ("/api/v1/orgs/acme/actions/runners/jobs", 0));
        let job = |id: u64| {
            json!({"id": id, "attempt": 1, "handle": "h", "repo_id": 1, "owner_id": 3, "name": "build", "needs": null,
                   "runs_on": ["a"], "task_id": 0, "status": "waiting"})
        };
        reply(200, &(1..=5_000).rev().map(job).collect())
    })
    .await;
    let found = forgejo.jobs(&scope("orgs/acme"), &[vec!["a".into()]]).await.unwrap();
    assert_eq!((found.len(), found[0].id.get(), found[0].handle.as_deref()), (5_000, 1, Some("h")));
    assert_eq!((found[0].repository.clone(), found[0].repository_id), (None, Some(1)));
    assert_eq!(forgejo.calls(), 2);
}

#[tokio::test]
async fn null_is_an_empty_list() {
    for kind in [Kind::Gitea, Kind::Forgejo] {
        let client = scripted(kind, |_| reply(200, &Value::Null)).await;
        assert_eq!(client.jobs(&scope("user"), &[]).await, Ok(Vec::new()));
        assert_eq!(client.runners(&scope("user")).await, Ok(Vec::new()));
    }
    let gitea =
        scripted(Kind::Gitea, |_| reply(200, &json!({"jobs": null, "runners": null, "total_count": 0})))
            .await;
    // Not both names at once.
    assert!(gitea.jobs(&scope("user"), &[]).await.is_err());
    let gitea = scripted(Kind::Gitea, |_| reply(200, &json!({"jobs": null, "total_count": 0}))).await;
    assert_eq!(gitea.jobs(&scope("user"), &[]).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_job_of_forgejo_is_followed_to_its_end() {
    let (stage, log) = (Arc::new(Mutex::new(0)), Log::default());
    let (at, kept) = (stage.clone(), log.clone());
    let forgejo = scripted(Kind::Forgejo, move |asked| {
        kept.add(&asked);
        let stage = *at.lock().unwrap();
        let queued = |status: &str, task: u64| {
            json!([{"id": 4, "attempt": 1, "handle": "h", "repo_id": 1, "name": "b", "runs_on": ["a"], "task_id": task, "status": status}])
        };
        match (asked.path.as_str(), stage) {
            ("/api/v1/repositories/1", _) => reply(200, &json!({"id": 1, "full_name": "acme/app"})),
            ("/api/v1/orgs/acme/actions/runners/jobs", 0) => reply(200, &queued("waiting", 0)),
            ("/api/v1/orgs/acme/actions/runners/jobs", 1) => reply(200, &queued("running", 9)),
            ("/api/v1/orgs/acme/actions/runners/jobs", _) => reply(200, &Value::Null),
            ("/api/v1/repos/acme/app/actions/tasks", _) => reply(
                200,
                &json!({"workflow_runs": [
                    {"id": 10, "status": "running"},
                    {"id": 9, "name": "b", "head_branch": "main", "status": "cancelled", "workflow_id": "ci.yml",
                     "url": "http://h/acme/app/actions/runs/3"},
                ], "total_count": 2}),
            ),
            other => panic!("{other:?}"),
        }
    })
    .await;
    let place = scope("orgs/acme");
    let waiting = forgejo.jobs(&place, &[]).await.unwrap().remove(0);
    let waiting = forgejo.job(&waiting).await.unwrap().unwrap();
    assert_eq!((waiting.status, waiting.repository.as_deref()), (JobStatus::Waiting, Some("acme/app")));
    *stage.lock().unwrap() = 1;
    let running = forgejo.jobs(&place, &[]).await.unwrap().remove(0);
    assert_eq!((running.status, running.task), (JobStatus::Running, Some(9)));
    assert_eq!(running.repository.as_deref(), Some("acme/app"), "its name is known by now");
    *stage.lock().unwrap() = 2;
    let ended = forgejo.job(&running).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.conclusion), (JobStatus::Done, Some(Conclusion::Cancelled)));
    assert_eq!((ended.workflow.as_deref(), ended.git_ref.as_deref()), (Some("ci.yml"), Some("main")));
    assert_eq!((ended.handle.as_deref(), ended.url.is_some()), (Some("h"), true));
    // One that no runner ever had.
    assert_eq!(forgejo.job(&waiting).await, Ok(None));
    let of = |path: &str| log.all().iter().filter(|asked| asked.path.ends_with(path)).count();
    assert_eq!((of("/repositories/1"), of("/actions/tasks")), (1, 1));
}

#[tokio::test]
async fn a_task_is_looked_for_in_the_latest_alone() {
    let tasks = |first: u64| {
        (first..first + 50).rev().map(|id| json!({"id": id, "status": "success"})).collect::<Vec<_>>()
    };
    let forgejo = scripted(Kind::Forgejo, move |asked| {
        if asked.path.ends_with("/runners/jobs") {
            return reply(200, &Value::Null);
        }
        let page = u64::try_from(asked.page()).unwrap();
        reply(200, &json!({"workflow_runs": tasks(100_000 - page * 50), "total_count": 100_000}))
    })
    .await;
    let mut known = job("repos/acme/app", 1);
    known.repository = Some("acme/app".into());
    known.task = Some(3);
    assert_eq!(forgejo.job(&known).await, Ok(None));
    assert_eq!(forgejo.calls(), 2 + 4);
    known.task = Some(100_000);
    assert_eq!(forgejo.job(&known).await, Ok(None), "it is past the latest: there is no such task");
    known.task = Some(99_880);
    assert!(forgejo.job(&known).await.unwrap().is_some());
}

#[tokio::test]
async fn a_job_of_gitea_that_is_gone() {
    let gitea = scripted(Kind::Gitea, |_| reply(404, &json!({"message": "not found"}))).await;
    let mut known = job("orgs/acme", 1);
    known.repository = Some("acme/app".into());
    assert_eq!(gitea.job(&known).await, Ok(None));
}

#[tokio::test]
async fn what_the_token_may_not_see_of_a_run_is_not_told() {
    let gitea = scripted(Kind::Gitea, |asked| {
        if asked.path.contains("/runs/") {
            return status(403);
        }
        reply(200, &json!({"id": 1, "run_id": 2, "status": "completed", "conclusion": "failure"}))
    })
    .await;
    let mut known = job("orgs/acme", 1);
    known.repository = Some("acme/app".into());
    let found = gitea.job(&known).await.unwrap().unwrap();
    assert_eq!((found.conclusion, found.workflow), (Some(Conclusion::Failure), None));
}

#[tokio::test]
async fn a_job_that_waits_again_has_no_runner() {
    let gitea =
        scripted(Kind::Gitea, |_| reply(200, &json!({"id": 1, "run_id": 2, "status": "queued"}))).await;
    let mut known = job("orgs/acme", 1);
    known.repository = Some("acme/app".into());
    (known.workflow, known.runner_name) = (Some("ci.yml".into()), Some("fa-1".into()));
    known.runner = Some(fireactions_gitea::RunnerId::new(3));
    let found = gitea.job(&known).await.unwrap().unwrap();
    assert_eq!((found.runner, found.runner_name, found.workflow.as_deref()), (None, None, Some("ci.yml")));
}

#[tokio::test]
async fn a_job_that_runs_again_is_another_attempt_and_the_task_tells_of_the_first() {
    for (kind, now) in [
        (Kind::Gitea, json!({"id": 4, "run_id": 2, "status": "in_progress", "runner_id": 8})),
        (Kind::Gitea, json!({"id": 4, "run_id": 2, "status": "queued"})),
        (
            Kind::Forgejo,
            json!([{"id": 4, "handle": "new", "repo_id": 1, "runs_on": [], "task_id": 12, "status": "running"}]),
        ),
        (
            Kind::Forgejo,
            json!([{"id": 4, "handle": "new", "repo_id": 1, "runs_on": [], "task_id": 0, "status": "waiting"}]),
        ),
    ] {
        let answer = now.clone();
        let forge = scripted(kind, move |asked| {
            if asked.path.ends_with("/tasks") {
                let first = json!({"id": 9, "status": "cancelled", "workflow_id": "ci.yml"});
                return reply(200, &json!({"workflow_runs": [first], "total_count": 1}));
            }
            reply(200, &answer)
        })
        .await;
        let mut known = job("orgs/acme", 4);
        (known.repository, known.workflow) = (Some("acme/app".into()), Some("ci.yml".into()));
        (known.handle, known.runner, known.task) =
            (Some("old".into()), Some(fireactions_gitea::RunnerId::new(3)), Some(9));
        let found = forge.job(&known).await.unwrap().unwrap();
        assert_eq!((found.status, found.conclusion), (JobStatus::Done, Some(Conclusion::Cancelled)), "{now}");
        known.task = None;
        let found = forge.job(&known).await.unwrap();
        let waits_as_before = kind == Kind::Gitea && now["status"] == "queued";
        assert_eq!(found.is_some(), waits_as_before, "{now}");
    }
}

#[tokio::test]
async fn one_question_for_all_pools_of_a_forgejo_by_labels() {
    let log = Log::default();
    let kept = log.clone();
    let url = serve_version("12.0.1+gitea-1.22.0", move |asked| {
        kept.add(&asked);
        reply(200, &json!([{"id": 1, "repo_id": 1, "owner_id": 3, "name": "b", "runs_on": ["a"], "status": "waiting"}]))
    })
    .await;
    let forgejo = client(Kind::Forgejo, &url);
    let labels =
        [vec!["b:host".to_owned(), "a".to_owned()], vec!["a:docker://x".to_owned()], vec![",".to_owned()]];
    assert_eq!(forgejo.jobs(&scope("instance"), &labels).await.unwrap().len(), 1);
    assert_eq!(forgejo.jobs(&scope("instance"), &[]).await, Ok(Vec::new()), "nothing is asked for nothing");
    let asked = log.all();
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/api/v1/admin/runners/jobs"));
    assert_eq!(asked[0].query, [("labels".to_owned(), "a,b".to_owned())]);
}
