//! Accounts and repositories as GitHub writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::known::accounts::{Account, Kind, Repository};
use super::state::State;

/// A repository's URLs: the field without `_url`, and what follows the repository's own URL.
const REPOSITORY_URLS: [(&str, &str); 36] = [
    ("archive", "/{archive_format}{/ref}"),
    ("assignees", "/assignees{/user}"),
    ("blobs", "/git/blobs{/sha}"),
    ("branches", "/branches{/branch}"),
    ("collaborators", "/collaborators{/collaborator}"),
    ("comments", "/comments{/number}"),
    ("commits", "/commits{/sha}"),
    ("compare", "/compare/{base}...{head}"),
    ("contents", "/contents/{+path}"),
    ("contributors", "/contributors"),
    ("deployments", "/deployments"),
    ("downloads", "/downloads"),
    ("events", "/events"),
    ("forks", "/forks"),
    ("git_commits", "/git/commits{/sha}"),
    ("git_refs", "/git/refs{/sha}"),
    ("git_tags", "/git/tags{/sha}"),
    ("hooks", "/hooks"),
    ("issue_comment", "/issues/comments{/number}"),
    ("issue_events", "/issues/events{/number}"),
    ("issues", "/issues{/number}"),
    ("keys", "/keys{/key_id}"),
    ("labels", "/labels{/name}"),
    ("languages", "/languages"),
    ("merges", "/merges"),
    ("milestones", "/milestones{/number}"),
    ("notifications", "/notifications{?since,all,participating}"),
    ("pulls", "/pulls{/number}"),
    ("releases", "/releases{/id}"),
    ("stargazers", "/stargazers"),
    ("statuses", "/statuses/{sha}"),
    ("subscribers", "/subscribers"),
    ("subscription", "/subscription"),
    ("tags", "/tags"),
    ("teams", "/teams"),
    ("trees", "/git/trees{/sha}"),
];

/// When everything that has no history was made.
pub(super) const LONG_AGO: &str = "2024-01-01T00:00:00Z";

/// An opaque node id.
pub(super) fn node(kind: &str, id: u64) -> String {
    STANDARD.encode(format!("0:{kind}{id}"))
}

impl State {
    /// A user or organisation as others see it.
    pub(super) fn simple_user(&self, account: &Account) -> Value {
        let (api, login) = (self.api(), &account.login);
        let url = format!("{api}/users/{login}");
        let kind = if account.kind == Kind::Organization { "Organization" } else { "User" };
        json!({
            "login": login,
            "id": account.id,
            "node_id": node(kind, account.id),
            "avatar_url": format!("{}/avatars/u/{}", self.base, account.id),
            "gravatar_id": "",
            "url": url,
            "html_url": format!("{}/{login}", self.base),
            "followers_url": format!("{url}/followers"),
            "following_url": format!("{url}/following{{/other_user}}"),
            "gists_url": format!("{url}/gists{{/gist_id}}"),
            "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{url}/subscriptions"),
            "organizations_url": format!("{url}/orgs"),
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events{{/privacy}}"),
            "received_events_url": format!("{url}/received_events"),
            "type": kind,
            "site_admin": false,
        })
    }

    /// An enterprise.
    pub(super) fn enterprise_object(&self, account: &Account) -> Value {
        json!({
            "id": account.id,
            "slug": account.login,
            "name": account.login,
            "node_id": node("Enterprise", account.id),
            "avatar_url": format!("{}/avatars/b/{}", self.base, account.id),
            "html_url": format!("{}/enterprises/{}", self.base, account.login),
            "description": null,
            "website_url": null,
            "created_at": LONG_AGO,
            "updated_at": LONG_AGO,
        })
    }

    /// An organisation in a webhook.
    pub(super) fn organization_object(&self, account: &Account) -> Value {
        let url = format!("{}/orgs/{}", self.api(), account.login);
        json!({
            "login": account.login,
            "id": account.id,
            "node_id": node("Organization", account.id),
            "url": url,
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events"),
            "hooks_url": format!("{url}/hooks"),
            "issues_url": format!("{url}/issues"),
            "members_url": format!("{url}/members{{/member}}"),
            "public_members_url": format!("{url}/public_members{{/member}}"),
            "avatar_url": format!("{}/avatars/u/{}", self.base, account.id),
            "description": null,
        })
    }

    /// What every form of a repository has.
    pub(super) fn minimal_repository(&self, repository: &Repository) -> Map<String, Value> {
        let owner = self.accounts.account(repository.owner);
        let full_name = self.accounts.full_name(repository);
        let url = format!("{}/repos/{full_name}", self.api());
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("id", repository.id.into());
        put("node_id", node("Repository", repository.id).into());
        put("name", repository.name.clone().into());
        put("full_name", full_name.clone().into());
        put("owner", self.simple_user(owner));
        put("private", (!repository.public).into());
        put("html_url", format!("{}/{full_name}", self.base).into());
        put("description", Value::Null);
        put("fork", false.into());
        for (field, after) in REPOSITORY_URLS {
            put(&format!("{field}_url"), format!("{url}{after}").into());
        }
        put("url", url.into());
        object
    }

    /// A repository with everything.
    pub(super) fn full_repository(&self, repository: &Repository) -> Value {
        let mut object = self.minimal_repository(repository);
        let full_name = self.accounts.full_name(repository);
        let host = self.base.trim_start_matches("http://").to_owned();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("clone_url", format!("{}/{full_name}.git", self.base).into());
        put("git_url", format!("git://{host}/{full_name}.git").into());
        put("ssh_url", format!("git@{host}:{full_name}.git").into());
        put("svn_url", format!("{}/{full_name}", self.base).into());
        for key in ["mirror_url", "homepage", "language", "license"] {
            put(key, Value::Null);
        }
        let counts = [
            "forks",
            "forks_count",
            "stargazers_count",
            "watchers_count",
            "watchers",
            "size",
            "open_issues",
            "open_issues_count",
        ];
        for key in counts {
            put(key, 0.into());
        }
        for key in ["has_issues", "has_projects", "has_wiki", "has_downloads"] {
            put(key, true.into());
        }
        for key in ["has_pages", "archived", "disabled"] {
            put(key, false.into());
        }
        for key in ["created_at", "updated_at", "pushed_at"] {
            put(key, LONG_AGO.into());
        }
        put("default_branch", "main".into());
        put("visibility", if repository.public { "public" } else { "private" }.into());
        Value::Object(object)
    }
}
