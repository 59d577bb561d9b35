//! The routes that a release has.

use super::super::release::Release;

/// What a path is about, with the parts of it that are names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Token,
    Runners,
    Runner(String),
    Queue,
    Jobs,
    Job(String),
    JobLog(String),
    Runs,
    Run(String),
    RunJobs(String),
    Tasks,
    Dispatch(String),
    Hooks,
    Cron(String),
    Itself,
}

/// Whose things they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Admin,
    Organization(String),
    Repository(String, String),
    RepositoryById(String),
    User,
}

/// What a path below `/api/v1` may be about, each with its methods. The first that has the method counts.
pub(super) type Found = (Place, Vec<(What, Vec<&'static str>)>);

/// None when the router has no such path.
pub(super) fn find(release: Release, parts: &[&str]) -> Option<Found> {
    let (place, rest) = match parts {
        ["admin", rest @ ..] => (Place::Admin, rest),
        ["orgs", name, rest @ ..] => (Place::Organization((*name).into()), rest),
        ["repos", owner, name, rest @ ..] => (Place::Repository((*owner).into(), (*name).into()), rest),
        ["user", rest @ ..] => (Place::User, rest),
        ["repositories", id] => (Place::RepositoryById((*id).into()), &[][..]),
        _ => return None,
    };
    let mut found = Vec::new();
    let mut route = |what: What, methods: &[(&'static str, bool)]| {
        let has: Vec<_> = methods.iter().filter(|(_, has)| *has).map(|(method, _)| *method).collect();
        if !has.is_empty() {
            found.push((what, has));
        }
    };
    match rest {
        [] => route(What::Itself, &[("GET", place != Place::Admin)]),
        ["hooks"] => route(What::Hooks, &[("POST", true)]),
        ["cron", name] if place == Place::Admin => route(What::Cron((*name).into()), &[("POST", true)]),
        // Where these were before they had a place beside the others'.
        ["runners", "registration-token"] if place == Place::Admin => {
            route(What::Token, &[("GET", release.shows_tokens())]);
        }
        ["runners", "jobs"] if place == Place::Admin => {
            route(What::Queue, &[("GET", !release.is_gitea())]);
        }
        ["actions", rest @ ..] => actions(release, &place, rest, &mut route),
        _ => {}
    }
    (!found.is_empty()).then_some((place, found))
}

fn actions(
    release: Release,
    place: &Place,
    rest: &[&str],
    route: &mut impl FnMut(What, &[(&'static str, bool)]),
) {
    let is_repository = matches!(place, Place::Repository(..));
    // Forgejo's administrators have these since runners can be listed.
    let here = *place != Place::Admin || (!release.is_gitea() && release.knows_runners());
    let gitea_jobs = [("GET", release.lists_jobs())];
    let run = [("GET", is_repository && (release.lists_jobs() || release.forgejo_lists_runs()))];
    match rest {
        ["runners"] => {
            route(What::Runners, &[("GET", release.knows_runners()), ("POST", release.registers_by_rest())]);
        }
        ["runners", id] => {
            match *id {
                "registration-token" => route(
                    What::Token,
                    &[("GET", release.shows_tokens() && here), ("POST", release.makes_tokens())],
                ),
                "jobs" => route(What::Queue, &[("GET", !release.is_gitea() && here)]),
                _ => {}
            }
            let has = release.knows_runners();
            let methods = [("GET", has), ("DELETE", has), ("PATCH", release.disables_runners())];
            route(What::Runner((*id).into()), &methods);
        }
        ["jobs"] => route(What::Jobs, &gitea_jobs),
        ["jobs", id] if is_repository => route(What::Job((*id).into()), &gitea_jobs),
        ["jobs", id, "logs"] if is_repository => {
            route(What::JobLog((*id).into()), &[("GET", release.makes_tokens())]);
        }
        ["runs"] if is_repository => route(What::Runs, &run),
        ["runs"] => route(What::Runs, &gitea_jobs),
        ["runs", id] => route(What::Run((*id).into()), &run),
        ["runs", id, "jobs"] if is_repository => route(What::RunJobs((*id).into()), &gitea_jobs),
        ["tasks"] if is_repository => route(What::Tasks, &[("GET", true)]),
        ["workflows", file, "dispatches"] if is_repository => {
            route(What::Dispatch((*file).into()), &[("POST", true)]);
        }
        _ => {}
    }
}
